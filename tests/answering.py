"""Tiny data module of prompts with reference answers, and a language model for it."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as L
import numpy as np
import torch

from gpt_lightning.batch import IGNORE_INDEX, LanguageModelingBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.length_batching import GeneratedFirstOrder, InMemoryRows, Order, SequentialOrder, pad
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import OptimizerConfig, Schedule
from gpt_lightning.tasks import CausalLM

BLOCK_SIZE = 32


class Answering(DataModule):
    """Rows of a prompt and its answer, from JSON Lines with ``prompt`` and ``answers``; the first answer is trained."""

    batch: ClassVar[type] = LanguageModelingBatch

    def __init__(self, generate_examples: int = 8, max_new_tokens: int = 8, **settings: Any) -> None:
        super().__init__(**settings)
        self.generate_examples = generate_examples
        self.max_new_tokens = max_new_tokens

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return (self.tokenizer.end_of_text_id,)

    def training_texts(self) -> Iterator[str]:
        yield ""

    def open_split(self, split: Split) -> InMemoryRows:
        prompts, answers = [self._prompt(prompt) for prompt, _ in EXAMPLES], [each for _, each in EXAMPLES]
        generated: Collection[int] = range(len(EXAMPLES)) if self.stage == "predict" else ()
        order: Order = SequentialOrder(len(EXAMPLES))
        if split != "train" and self.stage != "predict":
            order = GeneratedFirstOrder(order, self.generate_examples)
            generated = set(order.generated.tolist())

        def collate(indices: list[int], num_padding: int) -> Any:
            batch: Any = self._tensors([prompts[n] for n in indices], [answers[n][0] for n in indices], num_padding)
            batch["ids"] = [f"row {number}" for number in indices]
            batch["prompts"] = [prompts[number] for number in indices if number in generated]
            if self.stage != "predict":
                batch["references"] = [answers[number] for number in indices if number in generated]
            return batch

        return InMemoryRows(len(EXAMPLES), order, collate, "answers")

    def _prompt(self, text: str) -> list[int]:
        return [self.tokenizer.end_of_text_id, *self.tokenizer.encode(text)]

    def _tensors(self, prompts: list[list[int]], answers: list[str], num_padding: int) -> dict[str, Any]:
        encoded = [[*self.tokenizer.encode(answer), self.tokenizer.end_of_text_id] for answer in answers]
        inputs = [np.array([*prompt, *answer[:-1]]) for prompt, answer in zip(prompts, encoded, strict=True)]
        labels = [
            np.array([IGNORE_INDEX] * (len(prompt) - 1) + answer)
            for prompt, answer in zip(prompts, encoded, strict=True)
        ]
        padding = [np.array([IGNORE_INDEX])] * num_padding
        return {
            "input_ids": pad([*inputs, *[np.zeros(1, dtype=np.int64)] * num_padding], 0),
            "labels": pad([*labels, *padding], IGNORE_INDEX),
            "num_bytes": torch.tensor([*(len(answer.encode()) for answer in answers), *[0] * num_padding]),
        }


EXAMPLES: list[tuple[str, list[str]]] = [
    (f"{number} {unit}?", [f"{number} {unit[0]}.", unit]) for number in range(5) for unit in ("cats", "dogs", "mice")
]
"""15 prompts and their answers, two for each."""


def data(folder: Path, **settings: Any) -> Answering:
    """Return the data module, for all splits."""
    sources: dict[str, Any] = dict.fromkeys(("train", "validation", "test"), "unused")
    defaults: dict[str, Any] = {"tokenizer": "bytes", "block_size": BLOCK_SIZE, "batch_size": 4, "seed": 0}
    return Answering(**sources, cache_dir=str(folder / "cache"), **(defaults | settings))


def task(**shape: Any) -> CausalLM:
    """Return a small language model with fixed initial weights."""
    L.seed_everything(0, verbose=False)
    backbone = GPTConfig(**({"n_layer": 2, "n_head": 2, "n_embd": 48, "block_size": BLOCK_SIZE} | shape))
    optimizer, schedule = OptimizerConfig(lr=1e-2), Schedule(kind="constant", warmup_steps=2)
    return CausalLM(backbone=backbone, vocab_size=257, optimizer=optimizer, schedule=schedule)
