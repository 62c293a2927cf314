"""Small batches with random values for each head, and heads to run on them."""

from typing import Any

import torch
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import QuestionAnswering, SequenceClassification, Task, TokenClassification

VOCAB_SIZE = 40
LABELS = ["bad", "fine", "good"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
HEADS = ("classification", "multi_label", "tagging", "questions")
SHAPE: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16}

Batch = dict[str, Any]


def make_task(kind: str, **arguments: Any) -> Task:
    """Build a small task with fixed weights.

    Args:
        kind: one of ``HEADS``.
        **arguments: fields of ``GPTConfig``, which shape the backbone; all others are arguments of the task.
    """
    shape = {name: arguments.pop(name) for name in list(arguments) if name in GPTConfig.__dataclass_fields__}
    backbone = GPTConfig(**(SHAPE | shape))
    torch.manual_seed(0)
    if kind == "tagging":
        task: Task = TokenClassification(backbone=backbone, labels=TAGS, **arguments)
    elif kind == "questions":
        task = QuestionAnswering(backbone=backbone, **arguments)
    else:
        task = SequenceClassification(backbone=backbone, labels=LABELS, multi_label=kind == "multi_label", **arguments)
    for parameter in task.parameters():  # parameters initialized to zero could hide errors
        torch.nn.init.normal_(parameter, std=0.3)
    return task


def make_batch(kind: str, lengths: tuple[int, ...], seed: int = 0) -> Batch:
    """Return rows of these lengths with random tokens and labels, padded on the right to the longest."""
    generator = torch.Generator().manual_seed(seed)
    width, rows = max(lengths), len(lengths)
    ids = torch.randint(1, VOCAB_SIZE, (rows, width), generator=generator)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    batch: Batch = {"input_ids": ids.where(mask, 0), "attention_mask": mask}
    names = [f"row {row}" for row in range(rows)]
    if kind == "classification":
        labels = torch.randint(len(LABELS), (rows,), generator=generator)
        return batch | {"labels": labels, "ids": names, "texts": names}
    if kind == "multi_label":
        labels = torch.randint(2, (rows, len(LABELS)), generator=generator)
        return batch | {"labels": labels, "ids": names, "texts": names}
    examples = torch.arange(rows)
    if kind == "tagging":
        # Every other token is a word of one letter.
        scored = mask & (torch.arange(width) % 2 == 1)
        tags = torch.randint(len(TAGS), (rows, width), generator=generator)
        words = [[(2 * word, 2 * word + 1) for word in range(int(row.sum()))] for row in scored]
        return batch | {
            "labels": tags.where(scored, IGNORE_INDEX),
            "scored": scored,
            "examples": examples,
            "ids": names,
            "texts": ["b c d e f g h i j k l" for _ in names],
            "words": words,
        }
    null = torch.tensor(lengths) - 1
    context = mask & (torch.arange(width) >= 3) & (torch.arange(width) < null[:, None])
    starts = torch.tensor([3 + row % (length - 4) if row % 3 else length - 1 for row, length in enumerate(lengths)])
    offsets = torch.stack((torch.arange(width), torch.arange(width) + 1), dim=1) - 3
    return batch | {
        "start_positions": starts,
        "end_positions": starts.clone(),
        "context_mask": context,
        "null_positions": null,
        "examples": examples,
        "offsets": offsets.expand(rows, -1, -1).clamp(min=0),
        "ids": names,
        "questions": names,
        "contexts": ["bcdefghijklmnopq" for _ in names],
        "answers": [
            [] if start == end else ["bcdefghijklmnopq"[start - 3]]
            for start, end in zip(starts.tolist(), null.tolist(), strict=True)
        ],
    }


def add_padding(kind: str, batch: Batch, width: int, rows: int) -> Batch:
    """Return the batch padded to ``width`` tokens, followed by ``rows`` padding rows of one token each."""
    count, old = batch["input_ids"].shape
    extra = width - old

    def widen(tensor: Tensor, fill: Any, row_fill: Any) -> Tensor:
        if tensor.ndim == 1:
            return torch.cat((tensor, torch.full((rows,), row_fill, dtype=tensor.dtype)))
        shape = (count, extra, *tensor.shape[2:])
        wide = torch.cat((tensor, torch.full(shape, fill, dtype=tensor.dtype)), 1) if grows else tensor
        return torch.cat((wide, torch.full((rows, *wide.shape[1:]), row_fill, dtype=tensor.dtype)))

    fills: dict[str, Any] = {
        "labels": IGNORE_INDEX,
        "start_positions": IGNORE_INDEX,
        "end_positions": IGNORE_INDEX,
        "examples": -1,
    }
    result = dict(batch)
    for name, value in batch.items():
        if isinstance(value, Tensor):
            grows = not (name == "labels" and kind in ("classification", "multi_label"))
            result[name] = widen(value, fills.get(name, 0), fills.get(name, 0))
    result["attention_mask"][count:, 0] = True
    return result


def rows_of(batch: Batch, rows: list[int], width: int) -> Batch:
    """Return the tensors of some rows of a batch, cut to ``width`` tokens; training batches have tensors only."""
    result = {}
    for name, value in batch.items():
        if isinstance(value, Tensor):
            chosen = value[rows]
            per_token = value.ndim > 1 and value.size(1) == batch["input_ids"].size(1)
            result[name] = chosen[:, :width] if per_token else chosen
    return result
