"""Small models with rows to explain, one for each kind of decision."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpt_lightning.api import Model
from gpt_lightning.data import (
    ReadingComprehension,
    SequenceTagging,
    TextClassification,
    TextRegression,
    TextToText,
)
from gpt_lightning.data.base import DataModule
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import (
    CausalLM,
    QuestionAnswering,
    Seq2SeqLM,
    SequenceClassification,
    SequenceRegression,
    Task,
    TokenClassification,
)
from gpt_lightning.tokenizers.build import bytes_tokenizer

TEXT = "Ada doesn't like na\u00efve \U0001f600 films."
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
ROWS: Mapping[str, dict[str, Any]] = {
    "label": {"text": TEXT},
    "multi_label": {"text": TEXT},
    "value": {"text": TEXT},
    "tag": {"text": TEXT},
    "answer": {"question": "Who likes films?", "context": TEXT},
    "token": {"text": TEXT},
    "target": {"prompt": TEXT},
}
"""Kind of model -> a row for it."""

_CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=96, vocab_size=257)


def make_model(kind: str, *, std: float = 0.3, **shape: Any) -> Model:
    """Return a model with random weights of a standard deviation, and the tokenizer of bytes."""
    torch.manual_seed(0)
    task = _make_task(kind, replace(_CONFIG, **shape)).eval()
    for name, parameter in task.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=std)
    return Model(task, bytes_tokenizer(), Path("model"), _DATA.get(kind))


_DATA: dict[str, type[DataModule]] = {
    "label": TextClassification,
    "multi_label": TextClassification,
    "value": TextRegression,
    "tag": SequenceTagging,
    "answer": ReadingComprehension,
    "target": TextToText,
}


def _make_task(kind: str, config: GPTConfig) -> Task:
    if kind in ("label", "multi_label"):
        labels = ["bad", "fine", "good"]
        return SequenceClassification(backbone=config, labels=labels, multi_label=kind == "multi_label")
    if kind == "value":
        return SequenceRegression(backbone=config, target_mean=3.0, target_std=0.5)
    if kind == "tag":
        return TokenClassification(backbone=config, labels=TAGS, word_rules=[])
    if kind == "answer":
        return QuestionAnswering(backbone=config)
    if kind == "token":
        return CausalLM(backbone=config)
    return Seq2SeqLM(backbone=replace(config, n_encoder_layer=1), decoder_start_ids=[256])


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSON lines, and return the file."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
