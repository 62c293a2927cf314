"""Tokenizer of an exported model, as transformers' ``AutoTokenizer`` loads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tokenizers

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.batch import LanguageModelingBatch, ends_with_token
from gpt_lightning.models.huggingface.closest_family import closest_family
from gpt_lightning.models.huggingface.tensor_files import write_json
from gpt_lightning.tasks.base import Task
from gpt_lightning.tokenizers.layout import InputLayout, with_layout
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_PROBE: Final = (
    "12345 3.5",
    "Hello, world! It's John's.\r\n\n  def f(x):\n\treturn x",
    "N'Djamena don\u2019t e\u0301 \ufb01 \u0130 na\u00efve, \u65e5\u672c\u8a9e \U0001f469\u200d\U0001f680",
)
"""Texts on which the normalizers and pre-tokenizers of different tokenizers differ."""


def layout_of(task: Task, tokenizer: Tokenizer) -> InputLayout | None:
    """Return the complete input layout of a head; None for language models."""
    if task.batch is LanguageModelingBatch:
        return None
    return task.layout.complete(tokenizer, ends_with_token=ends_with_token(task.batch))


def ids_of_head(ids: Mapping[str, int], tokenizer: Tokenizer, layout: InputLayout) -> dict[str, int]:
    """Return the ids of the special tokens for a head: ``bos_token_id`` as in training, and a safe ``pad_token_id``.

    Hugging Face's classifiers pool the last token that is not ``pad_token_id``. It must differ from the last token of
    every input, so it is a special token, which no text contains, and not the end of the suffix.
    """
    prefix, _, suffix = layout.parts
    special = [each["id"] for each in tokenizer.state()["added_tokens"] if each["special"]]
    unknown = tokenizer.unknown_id
    candidates = [index for index in (ids["pad_token_id"], tokenizer.end_of_text_id, *special) if index in special]
    safe = [index for index in candidates if index != unknown and index not in suffix[-1:]]
    if not safe and suffix and unknown is not None:
        safe = [unknown]  # no input ends with a text
    begin = prefix[0] if len(prefix) == 1 else ids["bos_token_id"]
    return {**ids, "bos_token_id": begin, "pad_token_id": (safe or [ids["pad_token_id"]])[0]}


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, layout: InputLayout | None, ids: Mapping[str, int], block_size: int
) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``.

    The class in the configuration is the generic one, which uses ``tokenizer.json`` as it is. For a head, the
    post-processor adds the tokens of its layout, and special tokens inside texts are ordinary text, as in training.

    Args:
        folder: the model folder.
        tokenizer: tokenizer of the model.
        layout: complete input layout of a head; None for language models.
        ids: ``bos_token_id``, ``eos_token_id`` and ``pad_token_id``.
        block_size: maximum number of tokens of an input.
    """
    tokenizer.save(folder / "tokenizer.json")
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "padding_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
        **tokenizer.config.to_dict(),
        **{key.removesuffix("_id"): tokenizer.token(number) for key, number in ids.items()},
    }
    if layout is not None:
        with atomic_write(folder / "tokenizer.json") as file:
            file.write(with_layout(tokenizer, layout).to_str(pretty=True).encode())
        # These two would replace the post-processor.
        config = {key: value for key, value in config.items() if key not in ("add_bos_token", "add_eos_token")}
        config |= {"truncation_side": layout.truncation_side, "split_special_tokens": True}
    write_json(folder / "tokenizer_config.json", config)


def auto_tokenizer_difference(task: Task, tokenizer: Tokenizer) -> str | None:
    """Return the difference between the ids of transformers' ``AutoTokenizer`` for an exported model and ours, or None.

    For some families, ``AutoTokenizer`` ignores the configured class and builds the family's own tokenizer from the
    vocabulary. The ids of some texts are compared.
    """
    if task.huggingface_head is None:
        return None
    family = closest_family(task.backbone.config, task.huggingface_head)
    if family.tokenizer_parts is None:
        return None
    state = tokenizer.state()
    remedy = "Load it with PreTrainedTokenizerFast.from_pretrained instead"
    start = f"transformers' AutoTokenizer builds a tokenizer of its own for {family.title} models"
    if state["model"]["type"] != "BPE":
        return f"{start}, which cannot use the vocabulary of this one. {remedy}"
    state |= {**family.tokenizer_parts, "model": {**state["model"], **family.tokenizer_parts["model"]}}
    rebuilt = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(state)))
    for text in _PROBE:
        found, expected = rebuilt.encode(text), tokenizer.encode(text)
        if found != expected:
            ids = (
                f"{len(found)} ids {_start(found)}, but the model was trained with {len(expected)}: {_start(expected)}"
            )
            return f"{start}: it encodes {text!r} as {ids}. {remedy}"
    return None


def _start(ids: list[int]) -> str:
    """Return the first ids for a message."""
    return f"[{', '.join(map(str, ids[:6]))}{', ...' if len(ids) > 6 else ''}]"
