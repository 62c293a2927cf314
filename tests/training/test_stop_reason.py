"""The last lines of training say why it stopped."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
from lightning.pytorch.callbacks import EarlyStopping

from gpt_lightning.training import Checkpoints, Summary
from tests.runs import causal_lm, language_modeling, trainer


class Stop(L.Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        trainer.should_stop = trainer.global_step == 3


@pytest.mark.parametrize(
    ("arguments", "callbacks", "reason"),
    [
        ({"max_steps": 3}, [], "Stopped after 3 steps: trainer.max_steps=3 is reached"),
        ({"max_epochs": 2}, [], "Stopped after 10 steps: trainer.max_epochs=2 is reached"),
        ({"max_steps": 6, "max_epochs": 1}, [], "Stopped after 5 steps: trainer.max_epochs=1 is reached"),
        ({"max_time": {"milliseconds": 1}, "max_epochs": 9}, [], "Stopped after 1 step: trainer.max_time is over"),
        ({"max_steps": 9}, [Stop()], "Stopped after 3 steps: a callback requested it"),
        (
            {"max_steps": 90},
            [EarlyStopping("val/loss", stopping_threshold=9.0)],
            "Stopped after 5 steps: EarlyStopping: Stopping threshold reached: val/loss = ",
        ),
        (
            {"max_epochs": 9},
            [EarlyStopping("val/loss", min_delta=9.0, patience=1)],
            "EarlyStopping: Monitored metric val/loss did not improve in the last 1 records. Best score: ",
        ),
    ],
)
def test_the_reason_is_printed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, Any],
    callbacks: list[L.Callback],
    reason: str,
) -> None:
    run = trainer(tmp_path, callbacks=[*callbacks, Checkpoints(), Summary()], **arguments)
    run.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    out = capsys.readouterr().out
    assert reason in out
    assert "Signaling" not in out
