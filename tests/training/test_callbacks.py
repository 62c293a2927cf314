"""Checkpoints, token counts and terminal output of training."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from gpt_lightning.errors import InputError
from gpt_lightning.tasks.load import find_checkpoint, load_task, read_checkpoint
from gpt_lightning.tasks.tags import MFU, TOKENS
from gpt_lightning.training import Checkpoints, Throughput, Validations
from tests.runs import causal_lm, language_modeling, trainer


class Scores(L.Callback):
    """Callback that logs given scores as a validation metric."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("score", self.scores.pop(0))


def fit(folder: Path, *callbacks: L.Callback, **arguments: Any) -> L.Trainer:
    fit = trainer(folder, callbacks=list(callbacks), **arguments)
    fit.fit(causal_lm(), datamodule=language_modeling(folder))
    return fit


@pytest.mark.parametrize(("mode", "best_step"), [("min", 2), ("max", 3)])
def test_best_and_last_checkpoints_are_found(tmp_path: Path, mode: Any, best_step: int) -> None:
    checkpoints = Checkpoints(monitor="score", mode=mode)
    fit(
        tmp_path,
        Scores(0.5, 0.2, 0.9, 0.3),
        checkpoints,
        max_steps=4,
        val_check_interval=1,
        check_val_every_n_epoch=None,
    )
    assert read_checkpoint(find_checkpoint(str(tmp_path)))["global_step"] == best_step
    assert read_checkpoint(find_checkpoint(str(tmp_path), "last"))["global_step"] == 4
    assert find_checkpoint(str(tmp_path)).name == f"step_{best_step}.ckpt"


def test_a_checkpoint_is_written_at_the_interval(tmp_path: Path) -> None:
    class Crash(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 5:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(tmp_path, Checkpoints(every_n_steps=2), Crash(), max_steps=9, limit_val_batches=0)
    assert read_checkpoint(find_checkpoint(str(tmp_path), "last"))["global_step"] == 4


def test_a_moved_checkpoint_loads_without_its_run(tmp_path: Path) -> None:
    run = fit(tmp_path, Checkpoints(), max_steps=2)
    moved = find_checkpoint(str(tmp_path), "last").rename(tmp_path / "elsewhere.ckpt")
    task, tokenizer = load_task(moved)
    assert not task.training
    assert tokenizer.name == "bytes (257)"
    ids = torch.tensor([tokenizer.encode("beer on")])
    assert task(ids).equal(run.lightning_module.eval()(ids))


def test_a_different_tokenizer_is_refused(tmp_path: Path) -> None:
    fit(tmp_path, Checkpoints(), max_steps=2)
    other = trainer(tmp_path, callbacks=[Checkpoints()], max_steps=3)
    last = find_checkpoint(str(tmp_path), "last")
    with pytest.raises(InputError, match=r"its tokenizer is bytes \(257\), but the data uses bpe \(260\)\. Restore"):
        other.fit(
            causal_lm(), datamodule=language_modeling(tmp_path, tokenizer="bpe:260"), ckpt_path=last, weights_only=True
        )


def test_a_validation_follows_the_last_step(tmp_path: Path) -> None:
    """Two validations run: one at the interval, one after the last step."""
    run = fit(
        tmp_path,
        Scores(0.5, 0.4),
        Validations(),
        max_steps=4,
        val_check_interval=3,
        check_val_every_n_epoch=None,
    )
    assert float(run.callback_metrics["score"]) == pytest.approx(0.4)


@pytest.mark.parametrize("interval", ["00:01:00:00", {"minutes": 1}, timedelta(minutes=1)])
def test_a_validation_follows_the_last_step_if_the_interval_is_a_time(tmp_path: Path, interval: Any) -> None:
    run = fit(
        tmp_path, Scores(0.5), Validations(), Checkpoints(monitor="score"), max_steps=3, val_check_interval=interval
    )
    assert float(run.callback_metrics["score"]) == pytest.approx(0.5)
    assert read_checkpoint(find_checkpoint(str(tmp_path)))["global_step"] == 3


def test_the_token_count_continues_after_a_resume(tmp_path: Path) -> None:
    fit(tmp_path, Throughput(), Checkpoints(), max_steps=3, accumulate_grad_batches=2)
    again = trainer(tmp_path, callbacks=[Throughput(), Checkpoints()], max_steps=5, accumulate_grad_batches=2)
    last = find_checkpoint(str(tmp_path), "last")
    again.fit(causal_lm(), datamodule=language_modeling(tmp_path), ckpt_path=last, weights_only=True)
    tokens = float(again.callback_metrics[TOKENS])
    # The first epoch has 3 steps: 19 blocks of 8 tokens in micro-batches of 4, 4, 4, 4 and 3.
    # Steps 4 and 5 have 8 blocks.
    assert tokens == (19 + 8 + 8) * 8
    assert 0.0 < float(again.callback_metrics[MFU]) <= 1.0
