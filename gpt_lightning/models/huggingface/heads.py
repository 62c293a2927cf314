"""Heads of Hugging Face's classes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpt_lightning.models.huggingface.options import Options
from gpt_lightning.models.huggingface.tensor_files import read_json

GENERATION_CONFIG: Final = "generation_config.json"

HParams = Mapping[str, Any]
"""Hyper-parameters of a task, as in its checkpoints."""


def _no_entries(_: object) -> dict[str, Any]:
    return {}


def _no_reason(_: object) -> None:
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class HuggingFaceHead:
    """Head of Hugging Face's classes, named by the task that corresponds to it.

    Attributes:
        suffix: suffix of the class names, as in ``LlamaForCausalLM``.
        module: name of the head's layer in those classes.
        peft_task_type: peft's name of the task.
        read: ``config.json`` -> arguments of the task's constructor.
        write: hyper-parameters of the task -> the head's entries in ``config.json``.
        why_not: hyper-parameters of the task -> the reason why this head cannot express it, or None if it can.
        needs_pad_token_id: True if the head uses ``pad_token_id`` to find the last token of a text.
        has_encoder: True if the classes with this head are encoder-decoders.
        auto_suffix: suffix of the class of transformers that loads any family; None means ``suffix``.
    """

    suffix: str
    module: str
    peft_task_type: str
    read: Callable[[Options], dict[str, Any]] = _no_entries
    write: Callable[[HParams], dict[str, Any]] = _no_entries
    why_not: Callable[[HParams], str | None] = _no_reason
    needs_pad_token_id: bool = False
    has_encoder: bool = False
    auto_suffix: str | None = None

    @property
    def auto_class(self) -> str:
        """Class of transformers that loads any family with this head."""
        return f"AutoModel{self.auto_suffix or self.suffix}"


# --- entries in config.json


def _read_labels(options: Options) -> dict[str, Any]:
    """Return the names of the labels in the order of the head's outputs.

    Raises:
        InputError: the ids of the labels are not 0, 1, 2 and so on, or two labels share a name.
    """
    names = options.content.get("id2label")
    if names is None:
        return {"labels": [f"LABEL_{number}" for number in range(options.count("num_labels", 2))]}
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise options.error(f"id2label={str(names)[:200]}", "its keys must be 0, 1, 2 and so on")
    labels = [names[str(number)] for number in range(len(names))]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise options.error(f"id2label={str(names)[:200]}", "the labels must be different strings")
    return {"labels": labels}


def is_regression(options: Options) -> bool:
    """Return whether a Hugging Face classifier predicts a number, by the rule of its classes."""
    kind, names = options.content.get("problem_type"), options.content.get("id2label")
    num_labels = len(names) if isinstance(names, dict) else options.count("num_labels", 2)
    return kind == "regression" or (kind is None and num_labels == 1)


def _read_regression(options: Options) -> dict[str, Any]:
    """Return the mean and the standard deviation of the targets; 0 and 1 for heads that other programs trained.

    Raises:
        InputError: the head predicts several numbers.
    """
    labels = _read_labels(options)["labels"]
    if len(labels) != 1:
        raise options.error(f"problem_type='regression' and {len(labels)} labels", "only one number is supported")
    mean = options.get("target_mean", 0.0)
    if not isinstance(mean, int | float) or isinstance(mean, bool) or not math.isfinite(mean):
        raise options.error(f"target_mean={mean!r}", "must be a finite number")
    std = options.number("target_std", 1.0)
    if std == 0.0:
        raise options.error("target_std=0", "must be greater than 0")
    return {"pooling": "last", "target_mean": float(mean), "target_std": std}


def _write_regression(hparams: HParams) -> dict[str, Any]:
    """Return the entries of a regression head. Hugging Face's heads have no bias, so that the unit is separate."""
    labels = _write_labels({"labels": ["value"]})
    return {**labels, "problem_type": "regression", **{name: hparams[name] for name in ("target_mean", "target_std")}}


def _read_classifier(options: Options) -> dict[str, Any]:
    kind = options.content.get("problem_type")
    if kind not in (None, "single_label_classification", "multi_label_classification"):
        raise options.error(
            f"problem_type={kind!r}", "supported are single-label and multi-label classification, and regression"
        )
    return {**_read_labels(options), "multi_label": kind == "multi_label_classification", "pooling": "last"}


def _write_labels(hparams: HParams) -> dict[str, Any]:
    labels = hparams["labels"]
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def _write_classifier(hparams: HParams) -> dict[str, Any]:
    kind = "multi_label" if hparams.get("multi_label") else "single_label"
    return {**_write_labels(hparams), "problem_type": f"{kind}_classification"}


def _write_tagger(hparams: HParams) -> dict[str, Any]:
    return {**_write_labels(hparams), "classifier_dropout": hparams["backbone"]["dropout"]}


def _why_not_last_token(hparams: HParams) -> str | None:
    pooling = hparams.get("pooling", "last")
    if pooling == "last":
        return None
    return f"Hugging Face's classifiers look at the last token, but this one has pooling={pooling}"


def _read_start(options: Options) -> dict[str, Any]:
    """Return the token ids that begin every target: the start token, and the one that generation forces after it."""
    file = options.path.parent / GENERATION_CONFIG
    settings = dict(options.content)
    if file.exists():
        settings |= {name: value for name, value in read_json(file).items() if value is not None}
    found = [settings.get(name) for name in ("decoder_start_token_id", "forced_bos_token_id")]
    ids = [each for each in found if type(each) is int]
    return {"decoder_start_ids": ids if type(found[0]) is int else None}


def _write_start(hparams: HParams) -> dict[str, Any]:
    start = hparams["decoder_start_ids"]
    return {
        "decoder_start_token_id": start[0],
        "forced_bos_token_id": start[1] if len(start) > 1 else None,
        "forced_eos_token_id": None,  # the class has a default
    }


def _why_not_start(hparams: HParams) -> str | None:
    count = len(hparams.get("decoder_start_ids") or ())
    return f"Hugging Face's classes start targets with one or two tokens, not {count}" if count > 2 else None


# --- heads

CAUSAL_LM: Final = HuggingFaceHead(suffix="ForCausalLM", module="lm_head", peft_task_type="CAUSAL_LM")
SEQUENCE_CLASSIFICATION: Final = HuggingFaceHead(
    suffix="ForSequenceClassification",
    module="score",
    peft_task_type="SEQ_CLS",
    read=_read_classifier,
    write=_write_classifier,
    why_not=_why_not_last_token,
    needs_pad_token_id=True,
)
TOKEN_CLASSIFICATION: Final = HuggingFaceHead(
    suffix="ForTokenClassification",
    module="score",
    peft_task_type="TOKEN_CLS",
    read=_read_labels,
    write=_write_tagger,
)
QUESTION_ANSWERING: Final = HuggingFaceHead(
    suffix="ForQuestionAnswering", module="qa_outputs", peft_task_type="QUESTION_ANS"
)
SEQUENCE_REGRESSION: Final = HuggingFaceHead(
    suffix="ForSequenceClassification",
    module="score",
    peft_task_type="SEQ_CLS",
    read=_read_regression,
    write=_write_regression,
    why_not=_why_not_last_token,
    needs_pad_token_id=True,
)
"""Head of the same classes as ``SEQUENCE_CLASSIFICATION``, with ``problem_type: regression``."""
SEQ2SEQ_LM: Final = HuggingFaceHead(
    suffix="ForConditionalGeneration",
    module="lm_head",
    peft_task_type="SEQ_2_SEQ_LM",
    read=_read_start,
    write=_write_start,
    why_not=_why_not_start,
    has_encoder=True,
    auto_suffix="ForSeq2SeqLM",
)
HEADS: Final = (CAUSAL_LM, SEQUENCE_REGRESSION, SEQUENCE_CLASSIFICATION, TOKEN_CLASSIFICATION, QUESTION_ANSWERING)
"""Heads of families without an encoder."""
