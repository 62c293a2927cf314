"""Tasks of lm-evaluation-harness while a model is trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers.logger import Logger

from gpt_lightning.errors import InputError
from gpt_lightning.training import Marks
from tests.harness import write_task
from tests.heads import CommandLine
from tests.runs import causal_lm, head, language_modeling, trainer

pytestmark = pytest.mark.filterwarnings("ignore")  # the harness's, and those of what it imports


class Kept(Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, dict[int, float]] = {}

    name, version = "kept", 0

    @property
    def experiment(self) -> None:
        return None

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.values.setdefault(name, {})[int(step or 0)] = value


def train(folder: Path, marks: Marks | None) -> tuple[dict[str, torch.Tensor], Kept]:
    """Five steps with dropout, two micro-batches each: the weights, and what was logged."""
    kept = Kept()
    loop = trainer(
        folder,
        callbacks=[] if marks is None else [marks],
        logger=kept,
        max_steps=5,
        max_epochs=-1,
        accumulate_grad_batches=2,
        limit_val_batches=0,
    )
    task = causal_lm(block_size=64)
    loop.fit(task, datamodule=language_modeling(folder, block_size=64, batch_size=1))
    return task.state_dict(), kept


def test_training_goes_on_as_if_nothing_had_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    tasks = str(write_task(tmp_path / "tasks"))
    plain, _ = train(tmp_path, None)
    marked, kept = train(tmp_path, Marks("beer", every_n_steps=2, limit=6, include_path=tasks))
    assert sorted(kept.values["lm_eval/beer/acc"]) == [2, 4, 5], "every second step, and the last"
    assert all(0.0 <= value <= 1.0 for value in kept.values["lm_eval/beer/acc"].values())
    assert plain.keys() == marked.keys()
    for name, value in plain.items():
        assert torch.equal(value, marked[name]), name


def test_what_is_wrong_stops_before_the_first_step(tmp_path: Path) -> None:
    task, data = head(tmp_path, "classification")
    loop = trainer(tmp_path, callbacks=[Marks("beer", include_path=str(write_task(tmp_path / "tasks")))], max_steps=1)
    with pytest.raises(InputError, match=r"--lm_eval\.tasks: only a CausalLM can be measured, not a SequenceClass"):
        loop.fit(task, datamodule=data)
    with pytest.raises(InputError, match=r"--lm_eval\.every_n_steps=0 must be at least 1"):
        Marks("beer", every_n_steps=0)
    with pytest.raises(InputError, match=r"--lm_eval\.limit=0 must be at least 1"):
        Marks("beer", limit=0)


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from tests.commands.test_heads import pretrain

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    run = CommandLine(tmp_path, monkeypatch, capsys)
    folder = write_task(tmp_path / "tasks")
    flags = ("--lm_eval.tasks=beer", f"--lm_eval.include_path={folder}", "--lm_eval.every_n_steps=1")
    events = EventAccumulator(str(pretrain(run, *flags)))
    events.Reload()
    assert [event.step for event in events.Scalars("lm_eval/beer/acc")] == [1, 2]
