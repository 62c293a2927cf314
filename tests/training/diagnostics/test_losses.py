"""Losses by position, token frequency and document length, compared with a loop over all tokens."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F

from gpt_lightning.evaluation.run_report import history
from gpt_lightning.training import LossDiagnostics, RunHistory, StepAxis
from gpt_lightning.training.diagnostics import losses
from tests.runs import causal_lm, language_modeling, trainer

RANGES = ((0, 0), (1, 3), (4, 15), (16, 63))
SHARES = (("at_least_1e-2", 1e-2), ("at_least_1e-3", 1e-3), ("at_least_1e-4", 1e-4), ("below_1e-4", 0.0))


def range_of(number: int) -> str:
    return next(f"{low:06d}-{high:06d}" for low, high in RANGES if low <= number <= high)


def means(keys: list[str], values: list[float], group: str) -> dict[str, float]:
    found = defaultdict(list)
    for key, value in zip(keys, values, strict=True):
        found[f"{group}/{key}"].append(value)
    return {key: float(np.mean(each)) for key, each in found.items()}


def expected(task: Any, batches: list[Any], end: int) -> dict[str, float]:
    """Return the mean loss of each range, from one token at a time."""
    positions, tokens, lengths, values = [], [], [], []
    for batch in batches:
        logits = task(batch["input_ids"])
        for row in range(len(logits)):
            documents = (batch["input_ids"][row] == end).cumsum(0).tolist()
            labels = batch["labels"][row].tolist()
            counts = Counter(document for document, label in zip(documents, labels, strict=True) if label != -100)
            each = F.cross_entropy(logits[row], batch["labels"][row], reduction="none").tolist()
            for place, (label, document) in enumerate(zip(labels, documents, strict=True)):
                if label != -100:
                    positions.append(range_of(place))
                    tokens.append(label)
                    lengths.append(range_of(counts[document]))
                    values.append(each[place])
    shares = {token: count / len(tokens) for token, count in Counter(tokens).items()}
    frequencies = [next(name for name, lowest in SHARES if shares[token] >= lowest) for token in tokens]
    return {
        **means(positions, values, "val_loss_by_position"),
        **means(frequencies, values, "val_loss_by_token_frequency"),
        **means(lengths, values, "val_loss_by_document_length"),
    }


@pytest.mark.parametrize("max_batches", [1, 20])
def test_means_are_those_of_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_batches: int) -> None:
    monkeypatch.setattr(losses, "MAX_BATCHES", max_batches)
    text = tmp_path / "validation.jsonl"
    text.write_text("".join(f'{{"text": "{"abcdefgh"[: n + 1] * 3}"}}\n' for n in range(8)))
    task, data = causal_lm(block_size=32), language_modeling(tmp_path, validation=str(text), block_size=32)
    callbacks = [StepAxis(), LossDiagnostics(), RunHistory()]
    trainer(tmp_path, callbacks=callbacks, max_steps=1, limit_train_batches=1, num_sanity_val_steps=2).fit(task, data)
    found = {tag: points for tag, points in history.read(tmp_path).scalars.items() if tag.startswith("val_loss_by_")}
    task.eval()
    data.setup("validate")
    batches = list(data.val_dataloader())[:max_batches]
    reference = expected(task, batches, data.tokenizer.end_of_text_id)
    assert found.keys() == reference.keys()
    assert len(found) > 6
    for tag, points in found.items():
        ((step, value),) = points
        assert step == 1
        assert value == pytest.approx(reference[tag], rel=1e-5), tag
    assert not task.head._forward_hooks


def test_ranges_of_frequencies() -> None:
    sums = losses.TokenLosses()
    labels = np.repeat(np.arange(4), [200_000, 2_000, 200, 2])
    sums.add(labels.astype(float)[None], labels[None])
    found = {tag.partition("/")[2]: mean for tag, mean in sums.means() if "frequency" in tag}
    assert found == {"at_least_1e-2": 0.0, "at_least_1e-3": 1.0, "at_least_1e-4": 2.0, "below_1e-4": 3.0}
