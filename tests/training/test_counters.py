"""Counters of a resumed run are those of an uninterrupted run, also if it was saved between two micro-batches."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from gpt_lightning.tasks import Task, tags
from gpt_lightning.training import StepAxis, Throughput, Validations
from tests.reliability.conftest import many, tally
from tests.runs import causal_lm, head, language_modeling, trainer
from tests.training.test_lm_eval_callback import Kept

pytestmark = pytest.mark.reliability

NOT_COMPARED = (".loops.fit_loop.epoch_progress", ".loops.fit_loop.epoch_loop.val_loop")
"""Counters of Lightning that reach no user. It counts an epoch as ready once more after a restart at its end."""


class Counts(L.Callback):
    """Callback that records the counters after each step, and saves after each micro-batch and each validation."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.saved: list[Path] = []
        self.after_step: dict[int, tuple[int, float]] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self._save(trainer)
        assert isinstance(pl_module, Task)
        if not pl_module.is_accumulating:
            (throughput,) = (each for each in trainer.callbacks if isinstance(each, Throughput))  # type: ignore[attr-defined]
            self.after_step[trainer.global_step] = throughput.tokens_seen, pl_module.gradients.labels_seen

    def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if self.folder is not None:
            self.saved.append(self.folder / f"{len(self.saved)}.ckpt")
            trainer.save_checkpoint(self.saved[-1], weights_only=False)


def run(folder: Path, kind: str, counts: Counts, ckpt_path: Path | None = None) -> tuple[dict[str, Any], Kept]:
    """Train for three epochs of five batches, three a step; return the last checkpoint and the logged metrics."""
    task, data = (causal_lm(), language_modeling(folder)) if kind == "lm" else head(folder, kind, rows=20)
    kept, stopping = Kept(), EarlyStopping("val/loss", mode="max", patience=100)  # counts every validation
    loop = trainer(
        folder,
        logger=kept,
        callbacks=[stopping, StepAxis(), Throughput(), Validations(), counts],
        accumulate_grad_batches=3,
        val_check_interval=2,
        limit_val_batches=1,
        max_epochs=3,
        limit_train_batches=5,
    )
    loop.fit(task, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return copy.deepcopy(loop._checkpoint_connector.dump_checkpoint()), kept


def differences(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """Yield the name of each value that differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from differences(one.get(key), other.get(key), f"{name}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{name}.{number}")
    elif not (torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other):
        yield f"{name}: {other} instead of {one}"


@pytest.mark.parametrize("kind", ["lm", "classification", "ner"][: many(1, 3)])
def test_counters_after_an_interruption_at_any_micro_batch(tmp_path: Path, kind: str) -> None:
    """Test R1 for all that a checkpoint holds, such as the patience of ``EarlyStopping``, and for logged tokens."""
    straight = Counts(tmp_path)
    expected, logged = run(tmp_path, kind, straight)
    assert set(straight.after_step) == set(range(1, 7))
    assert len(straight.saved) == 15 + 7
    for path in straight.saved[: many(12, 20)]:  # no step follows the last two
        resumed = Counts(None)
        last, logged_again = run(tmp_path, kind, resumed, path)
        found = [each for each in differences(expected, last) if not each.startswith(NOT_COMPARED)]
        assert not found, path
        assert resumed.after_step.items() <= straight.after_step.items()
        for tag in (tags.TOKENS, tags.EPOCH, "val/loss"):
            assert logged_again.values[tag].items() <= logged.values[tag].items(), (path, tag)
        tally("R1", True)
