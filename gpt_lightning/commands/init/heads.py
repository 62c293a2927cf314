"""Configuration of a task head for a file of labeled rows."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from gpt_lightning.commands import shipped_configs
from gpt_lightning.commands.init import chat, classification, ner, qa, sizes
from gpt_lightning.commands.init.base_model import BaseModel, is_pretrained
from gpt_lightning.commands.init.choice import Choice
from gpt_lightning.commands.init.columns import Columns
from gpt_lightning.commands.init.document import Draft
from gpt_lightning.commands.init.findings import Findings
from gpt_lightning.data.sources.source import ReadOptions, read_rows
from gpt_lightning.tasks import CausalLM, SequenceClassification
from gpt_lightning.tokenizers.build import train_bpe
from gpt_lightning.tokenizers.tokenizer import Tokenizer

FINDERS: Final = {"chat": chat, "classification": classification, "sentiment": classification, "ner": ner, "qa": qa}
"""Name of a task -> the module that finds the facts for it."""

_SAMPLE: Final = 2000
_NO_VALIDATION: Final = (
    "All rows have the same text or context, so none are held out for validation. Give other rows with --validation."
)
_BACKBONES: Final = {"bidirectional": "llama_nano_encoder", "causal": "llama_nano_decoder"}


def draft(
    finder: ModuleType,
    train: list[str],
    flags: Mapping[str, str],
    base: BaseModel | None,
    has_validation: bool,
    options: ReadOptions,
) -> Draft:
    """Return the configuration for labeled rows.

    Args:
        finder: the module that finds the facts for a task, one of ``FINDERS``.
        train: files, folders or globs.
        flags: role of a column -> its name, where the user gives it.
        base: the pretrained model to start from; None trains from scratch.
        has_validation: a file of validation rows was given.
        options: options for text files.

    Raises:
        InputError: the rows cannot be read or recognized, or hold nothing to learn.
    """
    rows = list(read_rows(train, split="train", key="--train", options=options))
    found: Findings = finder.find(rows, Columns(rows, flags))
    tokenizer = sizes.tokenizer(sum(map(len, set(found.texts))))
    lengths = token_lengths(found.texts, tokenizer.value, base)
    most = None if base is None else base.block_size
    is_cut = found.task in (SequenceClassification, CausalLM)
    block = sizes.block_size(lengths, found.extra_tokens, found.min_block_size, most, is_cut)
    can_hold_out = len(set(found.texts)) > 1
    fraction = sizes.validation_fraction(len(found.texts)) if can_hold_out and not has_validation else None
    num_rows = len(found.texts) if fraction is None else round(len(found.texts) * (1 - fraction.value))
    is_monitored = can_hold_out or has_validation
    batch = sizes.batch_size(num_rows, block.value, is_pretrained(base))
    epochs = sizes.epochs(num_rows, batch.value, found.num_labels, is_pretrained(base), is_monitored)
    warmup = min(50, epochs.value * -(-num_rows // batch.value) // 10)
    return Draft(
        task=found.task,
        module=found.module,
        summary=found.summary if is_monitored else f"{found.summary} {_NO_VALIDATION}",
        trainer={"max_epochs": epochs},
        model={
            **(_from_scratch(found, block) if base is None else _from_base(found, base, block)),
            **found.model,
            "optimizer": _optimizer(base),
            "schedule": {"kind": "linear", "warmup_steps": warmup, "min_ratio": 0.0},
        },
        data={
            **({} if fraction is None else {"validation": fraction}),
            **found.arguments,
            **({} if base is not None else {"tokenizer": tokenizer}),
            "batch_size": batch,
        },
        others={"checkpoints": {"monitor": found.monitor, "mode": found.mode}} if is_monitored else {},
    )


def token_lengths(texts: Sequence[str], tokenizer: str, base: BaseModel | None) -> list[int]:
    """Return the lengths of a sample of texts, by the model's tokenizer or by one that is trained on the sample."""
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    chosen: Tokenizer = train_bpe(sample, int(tokenizer.removeprefix("bpe:"))) if base is None else base.tokenizer
    return [len(ids) for ids in chosen.encode_batch(list(sample))]


def _from_scratch(findings: Findings, block: Choice) -> dict[str, Any]:
    shape = shipped_configs.backbone(_BACKBONES[findings.attention])
    why = "0.8M weights and the embeddings; with few rows a pretrained model is better: init --model"
    return {"backbone": Choice({**shape, "block_size": block}, why)}


def _from_base(findings: Findings, base: BaseModel, block: Choice) -> dict[str, Any]:
    result: dict[str, Any] = {"init_from": base.choice()}
    if not base.may_shorten:
        if findings.attention == "bidirectional":
            why = "every token reads the whole text; pretraining was causal"
            result["backbone"] = {"attention": Choice(findings.attention, why)}
        return result
    result["backbone"] = {"block_size": block}
    if findings.attention == "bidirectional":
        result["pooling"] = Choice("last", "in a causal model the last token has read all others")
    if base.is_large:
        why = "adapters in a frozen backbone save memory; needs pip install 'gpt-lightning[lora]'"
        result["lora"] = Choice({"r": 16}, why)
    return result


def _optimizer(base: BaseModel | None) -> dict[str, Any]:
    if base is None or base.is_small:
        return {"lr": 1.0e-3}
    if base.is_large:
        return {"lr": Choice(5.0e-4, "adapters learn at ten times the rate of all weights")}
    return {"lr": Choice(5.0e-5, "low, so that pretraining is not forgotten"), "beta2": 0.999, "weight_decay": 0.01}
