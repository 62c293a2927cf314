"""Evaluation with lm-evaluation-harness during training."""

import random
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt_lightning.cli import main
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.model import HarnessLM
from gpt_lightning.training import LMEval, RandomnessByPosition
from tests.commands.run.test_cli import CONFIG
from tests.evaluation.lm_eval.task_file import write_task
from tests.evaluation.lm_eval.task_files import write_tasks
from tests.heads import CommandLine
from tests.reliability.processes import Run
from tests.runs import causal_lm, head, language_modeling, trainer, write_text

pytestmark = pytest.mark.filterwarnings("ignore")  # from the harness and its dependencies


class Kept(Logger):
    """Logger that records all values."""

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


class Requests(L.Callback):
    """Callback that writes the number of requested continuations to a file for each process."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        original = HarnessLM._loglikelihood_tokens

        def recorded(self: HarnessLM, requests: Any, *arguments: Any, **settings: Any) -> Any:
            with Path(f"requests-{trainer.global_rank}").open("a") as file:
                file.write(f"{len(requests)}\n")
            return original(self, requests, *arguments, **settings)

        HarnessLM._loglikelihood_tokens = recorded  # type: ignore[method-assign]


class Numbers(L.Callback):
    """Callback that draws random numbers, and records modes and gradients, at the start of each batch."""

    def __init__(self) -> None:
        self.drawn: list[Any] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        modes = [module.training for module in pl_module.modules()]
        gradients = [None if p.grad is None else p.grad.clone() for p in pl_module.parameters()]
        self.drawn.append((random.random(), np.random.rand(), float(torch.rand(())), modes, gradients))


def train(folder: Path, evaluation: LMEval | None) -> tuple[dict[str, torch.Tensor], Kept]:
    """Train five steps with dropout, two micro-batches each; return the weights and the logged values."""
    kept = Kept()
    loop = trainer(
        folder,
        callbacks=[] if evaluation is None else [evaluation],
        logger=kept,
        max_steps=5,
        max_epochs=-1,
        accumulate_grad_batches=2,
        limit_val_batches=0,
    )
    task = causal_lm(block_size=64)
    loop.fit(task, datamodule=language_modeling(folder, block_size=64, batch_size=1))
    return task.state_dict(), kept


def test_the_evaluation_does_not_change_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    tasks = str(write_task(tmp_path / "tasks"))
    plain, _ = train(tmp_path, None)
    evaluated, kept = train(tmp_path, LMEval("beer", every_n_steps=2, limit=6, include_path=tasks))
    assert sorted(kept.values["lm_eval/beer/acc"]) == [2, 4, 5], "every second step and the last"
    assert all(0.0 <= value <= 1.0 for value in kept.values["lm_eval/beer/acc"].values())
    assert plain.keys() == evaluated.keys()
    for name, value in plain.items():
        assert torch.equal(value, evaluated[name]), name


def test_errors_stop_the_run_before_the_first_step(tmp_path: Path) -> None:
    task, data = head(tmp_path, "classification")
    loop = trainer(tmp_path, callbacks=[LMEval("beer", include_path=str(write_task(tmp_path / "tasks")))], max_steps=1)
    with pytest.raises(InputError, match=r"--lm_eval\.tasks: only a CausalLM can be evaluated, not a SequenceClass"):
        loop.fit(task, datamodule=data)
    with pytest.raises(InputError, match=r"--lm_eval\.every_n_steps=0 must be at least 1"):
        LMEval("beer", every_n_steps=0)
    with pytest.raises(InputError, match=r"--lm_eval\.limit=0 must be at least 1"):
        LMEval("beer", limit=0)


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.commands.test_heads import pretrain

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    run = CommandLine(tmp_path, monkeypatch, capsys)
    folder = write_task(tmp_path / "tasks")
    flags = ("--lm_eval.tasks=beer", f"--lm_eval.include_path={folder}", "--lm_eval.every_n_steps=1")
    events = EventAccumulator(str(pretrain(run, *flags)))
    events.Reload()
    assert [event.step for event in events.Scalars("lm_eval/beer/acc")] == [1, 2]


def test_random_numbers_modes_and_gradients_are_unchanged(tmp_path: Path) -> None:
    """The test removes the seeding before each batch, which would hide a change of the random numbers."""
    tasks, runs = write_tasks(tmp_path / "tasks"), []
    for evaluation in (LMEval(), LMEval("tiny,tiny_texts,tiny_writing", every_n_steps=2, include_path=str(tasks))):
        numbers, task = Numbers(), causal_lm(block_size=32)
        task.backbone.blocks[0].eval()
        loop = trainer(tmp_path, callbacks=[evaluation, numbers], logger=Kept(), max_steps=6, accumulate_grad_batches=2)
        loop.callbacks = [each for each in loop.callbacks if not isinstance(each, RandomnessByPosition)]  # type: ignore[attr-defined]
        loop.fit(task, datamodule=language_modeling(tmp_path, block_size=32, batch_size=1))
        runs.append(numbers.drawn)
    assert len(runs[0]) == len(runs[1]) > 9
    for (*numbers, modes, gradients), (*others, other_modes, other_gradients) in zip(*runs, strict=True):
        assert numbers == others
        assert modes == other_modes
        assert True in modes
        assert False in modes
        for one, other in zip(gradients, other_gradients, strict=True):
            assert (one is None and other is None) or one.equal(other)


def scores_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag.startswith("lm_eval/")
    }


FLAGS = ("--lm_eval.tasks=tiny,tiny_texts", "--lm_eval.every_n_steps=2", "--lm_eval.include_path=tasks")


def prepare(folder: Path) -> None:
    write_text(folder)
    write_tasks(folder / "tasks")
    (folder / "config.yaml").write_text(CONFIG)


def test_two_processes_share_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The combined scores are those of one process on the same weights."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    steady = ["--model.backbone.dropout=0", "--model.optimizer.eps=1e-3", "--model.backbone.block_size=64"]
    two_devices = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2"]
    counter = "--trainer.callbacks+=tests.training.test_lm_eval_callback.Requests"
    run = Run(tmp_path, *steady, *FLAGS, counter, *two_devices)
    assert run.end() == 0, run.err.read_text()
    requested = [[int(line) for line in Path(f"requests-{rank}").read_text().split()] for rank in (0, 1)]
    # The processes share 16 continuations and 2 texts at steps 2 and 4. The harness pads the shares to equal sizes.
    assert requested == [[10, 1, 10, 1]] * 2
    assert main(["fit", "-c", "config.yaml", *steady, *FLAGS, "--data.batch_size=4"]) == 0
    two, one = (scores_of(tmp_path / "logs" / "beer" / version) for version in ("version_0", "version_1"))
    assert (
        two.keys()
        == one.keys()
        == {f"lm_eval/{name}" for name in ("tiny/acc", "tiny_texts/byte_perplexity", "tiny_texts/bits_per_byte")}
    )
    for name, points in one.items():
        assert [step for step, _ in points] == [step for step, _ in two[name]]
        assert [value for _, value in two[name]] == pytest.approx([value for _, value in points], rel=1e-3), name
