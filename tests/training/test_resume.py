"""Interrupted and resumed runs end bit for bit like uninterrupted ones."""

import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

from gpt_lightning.checkpoints.manifest import Manifest
from gpt_lightning.data.base import DataModule
from gpt_lightning.errors import Interrupted
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.training import Checkpoints, Validations
from tests.reliability.conftest import SOAK, many, tally
from tests.runs import HEADS, causal_lm, head, language_modeling, trainer

pytestmark = pytest.mark.reliability

Batches = list[tuple[int, int, list[list[int]]]]


class Recorder(L.Callback):
    """Callback that records batches, and saves a checkpoint after each step and validation."""

    def __init__(self, folder: Path | None = None) -> None:
        self.batches: Batches = []
        self.folder = folder
        self.saved: list[tuple[Path, int]] = []
        self.stepped = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches.append((trainer.current_epoch, batch_idx, batch["input_ids"].tolist()))
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            self._save(trainer, len(self.batches))
            self.stepped = len(self.batches)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, also in the middle of a step, which a resumed run must repeat because its gradients are lost."""
        self._save(trainer, self.stepped)

    def _save(self, trainer: L.Trainer, done: int) -> None:
        if self.folder:
            path = self.folder / f"{len(self.saved)}.ckpt"
            trainer.save_checkpoint(path)
            self.saved.append((path, done))


def run(
    folder: Path,
    recorder: Recorder,
    ckpt_path: Path | None = None,
    workers: int = 0,
    kind: str | None = None,
    **arguments: Any,
) -> dict[str, Tensor]:
    """Train a language model or a head, and return the final state of the model and its optimizer."""
    data: DataModule
    task: Task
    if kind is None:
        task, data = causal_lm(), language_modeling(folder, num_workers=workers)
    else:
        task, data = head(folder, kind)
    fit = trainer(folder, callbacks=[recorder, *arguments.pop("callbacks", [])], **arguments)
    fit.fit(task, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    state = {f"model.{name}": value for name, value in task.state_dict().items()}
    for number, moments in fit.optimizers[0].state_dict()["state"].items():
        state |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    return state


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("limits", [{"max_epochs": 3}, {"max_steps": 14, "max_epochs": -1}], ids=["epochs", "steps"])
@pytest.mark.parametrize("validation", [{}, {"val_check_interval": 2}], ids=["val_epoch", "val_2"])
def test_resume_from_every_step(
    tmp_path: Path, accumulate: int, limits: dict[str, int], validation: dict[str, int]
) -> None:
    arguments: dict[str, Any] = {"accumulate_grad_batches": accumulate, **limits, **validation}
    straight = Recorder(tmp_path)
    expected = run(tmp_path, straight, **arguments)
    assert {epoch for epoch, _, _ in straight.batches} >= {0, 1, 2}
    wrong = []
    for path, done in straight.saved:
        resumed = Recorder()
        state = run(tmp_path, resumed, path, **arguments)
        if resumed.batches != straight.batches[done:] or not all(state[k].equal(expected[k]) for k in expected):
            wrong.append(
                (done, [b[:2] for b in resumed.batches][:3], len(resumed.batches), len(straight.batches) - done)
            )
        tally("R2", not wrong)
    assert not wrong


@pytest.mark.parametrize("accumulate", [1, 3])
def test_resume_with_workers(tmp_path: Path, accumulate: int) -> None:
    """Batches that worker processes prefetched when the run ended do not count."""
    straight = Recorder(tmp_path)
    expected = run(tmp_path, straight, workers=2, max_epochs=2, accumulate_grad_batches=accumulate)
    at_end_of_epoch = max(done for _, done in straight.saved if straight.batches[done - 1][0] == 0)
    for path, done in straight.saved:
        if done in (3, at_end_of_epoch) or SOAK:
            resumed = Recorder()
            state = run(tmp_path, resumed, path, max_epochs=2, workers=2, accumulate_grad_batches=accumulate)
            same = all(state[name].equal(expected[name]) for name in expected)
            tally("R2", same and resumed.batches == straight.batches[done:])


@pytest.mark.parametrize("limit", ["max_steps", "max_epochs"])
def test_a_finished_run_continues_with_a_higher_limit(tmp_path: Path, limit: str) -> None:
    """The first run may end in the middle of an epoch."""
    straight = Recorder()
    expected = run(tmp_path, straight, max_steps=12)
    first = Recorder()
    arguments: dict[str, Any] = {"max_steps": 7} if limit == "max_steps" else {"max_epochs": 1}
    run(tmp_path, first, callbacks=[Checkpoints(), Validations()], **arguments)
    resumed = Recorder()
    last = find_checkpoint(str(tmp_path), "last")
    state = run(tmp_path, resumed, last, callbacks=[Checkpoints(), Validations()], max_steps=12)
    assert first.batches + resumed.batches == straight.batches
    assert all(state[name].equal(expected[name]) for name in expected)


class StopAtValidation(L.Callback):
    """Callback that interrupts training in the middle of a validation."""

    def on_validation_batch_end(self, *arguments: Any, **named: Any) -> None:
        raise Interrupted(signal.SIGINT, between_steps=True)


def test_a_repeated_validation_keeps_the_list_of_checkpoints(tmp_path: Path) -> None:
    """The validation at the start of a resumed run saves before any other hook of the checkpoints."""
    arguments: dict[str, Any] = {"val_check_interval": 3, "max_epochs": -1}
    saving = [Validations(), Checkpoints(every_n_steps=1, keep=10)]
    with pytest.raises(Interrupted):
        run(tmp_path, Recorder(), callbacks=[*saving, StopAtValidation()], max_steps=5, **arguments)
    folder = tmp_path / "checkpoints"
    assert [entry.step for entry in Manifest.read(folder).checkpoints] == [1, 2, 3]
    last = find_checkpoint(str(tmp_path), "last")
    saving = [Validations(), Checkpoints(every_n_steps=1, keep=10)]
    run(tmp_path, Recorder(), last, callbacks=saving, max_steps=5, **arguments)
    listed = Manifest.read(folder).checkpoints
    tally("R4", [entry.step for entry in listed] == [1, 2, 3, 4, 5])
    assert {path.name for path in folder.glob("step_*")} == {entry.file for entry in listed}


def test_an_interrupted_validation_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"max_epochs": 3, "limit_train_batches": 2}
    expected = run(tmp_path, Recorder(), callbacks=[Validations()], **arguments)
    saving = [Validations(), Checkpoints()]
    with pytest.raises(Interrupted):
        run(tmp_path, Recorder(), callbacks=[*saving, StopAtValidation()], **arguments)
    last = find_checkpoint(str(tmp_path), "last")
    checkpoint = torch.load(last, weights_only=True)
    assert (checkpoint["global_step"], checkpoint["validation_missing"]) == (2, True)
    resumed = Recorder()
    state = run(tmp_path, resumed, last, callbacks=[Validations(), Checkpoints()], **arguments)
    assert [epoch for epoch, *_ in resumed.batches] == [1, 1, 2, 2]
    tally("R1", all(torch.equal(value, expected[name]) for name, value in state.items()))


@pytest.mark.parametrize("accumulate", [1, 3][: many(1, 2)])
@pytest.mark.parametrize("kind", HEADS)
def test_heads_resume_from_every_step(tmp_path: Path, kind: str, accumulate: int) -> None:
    """Heads have length batching, a new order in each epoch, and dropout."""
    arguments: dict[str, Any] = {"max_epochs": 2, "limit_val_batches": 1, "accumulate_grad_batches": accumulate}
    straight = Recorder(tmp_path)
    expected = run(tmp_path, straight, kind=kind, **arguments)
    for path, done in straight.saved[:: max(1, len(straight.saved) // many(4, 1000))]:
        resumed = Recorder()
        state = run(tmp_path, resumed, path, kind=kind, **arguments)
        same = all(torch.equal(value, expected[name]) for name, value in state.items())
        tally("R2", same and resumed.batches == straight.batches[done:])
