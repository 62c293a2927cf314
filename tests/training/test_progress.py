"""Progress lines without a terminal, and the bar in one."""

import os
import pty
import re
import select
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from rich.progress import Progress

from gpt_lightning.data import LanguageModeling
from gpt_lightning.metrics.loss import MeanLoss
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.tasks.tags import TOKENS_PER_SECOND
from gpt_lightning.training import Checkpoints, ProgressBar, ProgressLines, Summary, Throughput, Validations
from gpt_lightning.training.pace import Pace, Status, duration
from gpt_lightning.training.progress import ProgressDisplay, _loss
from tests import answering
from tests.reliability.processes import CONFIG, fork, run_command
from tests.runs import TINY, causal_lm, language_modeling, trainer, write_text
from tests.training.test_lm_eval_callback import Kept

EPOCH = 5
"""Micro-batches of an epoch: 19 blocks of 8 tokens in batches of 4."""


def run(folder: Path, ckpt_path: str | None = None, **arguments: Any) -> L.Trainer:
    """Train with a line for each step."""
    callbacks = [Validations(), Throughput(), ProgressLines(seconds=0.0), Checkpoints(every_n_steps=1), Summary()]
    made = trainer(folder, callbacks=callbacks, **arguments)
    made.fit(causal_lm(), datamodule=language_modeling(folder), ckpt_path=ckpt_path, weights_only=True)
    return made


def training_lines(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("step") and ": loss" in line]


def test_a_line_has_step_total_loss_throughput_and_remaining_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, max_steps=4)
    out = capsys.readouterr().out
    lines = training_lines(out)
    assert [line.split(":")[0] for line in lines] == ["step 2/4", "step 3/4", "step 4/4"]
    for line in lines:
        assert re.fullmatch(r"step ./4: loss [0-9.]{6}, [0-9,]+ tokens/s, 0:0[0-9] left", line), line
    assert re.search(r"^step 4/4: val/loss [0-9.]{6}, val/perplexity ", out, re.MULTILINE)
    assert f"Stopped after 4 steps: trainer.max_steps=4 is reached\nbest: {tmp_path}/checkpoints/step_4.ckpt" in out


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("limit", ["max_steps", "max_epochs"])
def test_total_and_count_are_right_after_a_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str, accumulate: int
) -> None:
    """The resume starts in the middle of the second of three epochs."""
    steps = -(-EPOCH // accumulate)
    total = {"max_steps": 3 * steps - 1, "max_epochs": 3 * steps}[limit]
    longer: dict[str, Any] = {"accumulate_grad_batches": accumulate}
    run(tmp_path, max_steps=steps + 1, **longer)
    capsys.readouterr()
    longer[limit] = total if limit == "max_steps" else 3
    run(tmp_path, find_checkpoint(str(tmp_path), "last").as_posix(), **longer)
    lines = training_lines(capsys.readouterr().out)
    assert [line.split()[1].rstrip(":") for line in lines] == [f"{n}/{total}" for n in range(steps + 3, total + 1)]
    assert ("(epoch 2/3)" in lines[0]) == (limit == "max_epochs")


def test_nothing_is_promised_without_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, max_steps=-1, max_epochs=-1, max_time={"seconds": 1})
    line = training_lines(capsys.readouterr().out)[0]
    assert re.fullmatch(r"step 2: loss [0-9.]{6}, [0-9,]+ tokens/s", line), line


def test_other_ranks_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(L.Trainer, "is_global_zero", False)
    made = trainer(tmp_path, callbacks=[ProgressLines(seconds=0.0)], max_steps=4)
    made.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    made.test(causal_lm(), datamodule=language_modeling(tmp_path, test=str(tmp_path / "text.txt")), verbose=False)
    assert capsys.readouterr().out == ""


def test_long_evaluations_show_their_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = str(write_text(tmp_path))
    made = trainer(tmp_path, callbacks=[ProgressLines(seconds=0.0)])
    made.validate(causal_lm(), datamodule=language_modeling(tmp_path), verbose=False)
    made.test(causal_lm(), datamodule=language_modeling(tmp_path, test=text), verbose=False)
    out = capsys.readouterr().out
    for stage in ("validating", "testing"):
        assert [line for line in out.splitlines() if line.startswith(stage)] == [
            f"{stage}: batch {n}/{EPOCH}" for n in range(1, EPOCH + 1)
        ]


def test_generation_is_shown_and_its_line_has_the_main_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = answering.data(tmp_path, generate_examples=6)
    made = trainer(tmp_path, callbacks=[ProgressLines(seconds=0.0)], max_epochs=1)
    made.fit(answering.task(), datamodule=data)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("validating")]
    assert lines[:4] == [
        "validating: generating 4 answers",
        "validating: batch 1/4",
        "validating: generating 2 answers",
        "validating: batch 2/4",
    ]
    (metrics,) = (line for line in out.splitlines() if "val/loss" in line)
    assert "val/chrf" in metrics
    assert "val/rougeL" in metrics
    assert "val/rouge1" not in metrics
    made = trainer(tmp_path, callbacks=[ProgressLines(0.0), Checkpoints(monitor="val/rouge1")], max_epochs=1)
    made.fit(answering.task(), datamodule=data)
    assert "val/rouge1" in capsys.readouterr().out, "the monitored metric is always shown"
    made.predict(answering.task(), datamodule=data)
    assert "predicting: generating 4 answers" in capsys.readouterr().out


def test_the_bar_says_that_answers_are_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(Progress, "update", lambda *_, text="", **__: texts.append(text))
    data = answering.data(tmp_path, generate_examples=3)
    trainer(tmp_path, callbacks=[ProgressBar(seconds=0.0)]).test(answering.task(), datamodule=data, verbose=False)
    assert texts == ["generating 3 answers", "", "", "", ""], "four batches, the first with examples"


class SlowEvaluation(L.Callback):
    """Callback that takes 0.3 seconds after each step, which are excluded, and after each validation."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        time.sleep(0.3)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Throughput):
                callback.exclude(0.3)

    def on_validation_end(self, *_: Any) -> None:
        time.sleep(0.3)


def test_evaluations_do_not_lower_the_throughput(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, callbacks = Kept(), [Throughput(), ProgressLines(seconds=0.0), SlowEvaluation()]
    made = trainer(tmp_path, callbacks=callbacks, max_steps=4, val_check_interval=1, logger=kept)
    made.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    speeds = kept.values[TOKENS_PER_SECOND]
    assert min(speeds.values()) > 2 * 32 / 0.3, "a step has 32 tokens"
    shown = [
        re.findall(r"step (.)/4: .* ([0-9,]+) tokens/s", line)[0] for line in training_lines(capsys.readouterr().out)
    ]
    assert shown == [(str(step + 1), f"{speed:,.0f}") for step, speed in speeds.items()], (
        "both are the same measurement"
    )


def test_a_display_without_the_callback_shows_no_throughput(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = trainer(tmp_path, callbacks=[ProgressLines(seconds=0.0)], max_steps=4)
    made.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    lines = training_lines(capsys.readouterr().out)
    assert len(lines) == 3
    assert all(re.fullmatch(r"step ./4: loss [0-9.]{6}, 0:0[0-9] left", line) for line in lines), lines


class TwoLoaders(LanguageModeling):
    """Data module with two loaders of test data."""

    def test_dataloader(self) -> Any:
        return [super().test_dataloader()] * 2


class Counts(ProgressDisplay):
    """Display that records the numbers of batches."""

    def __init__(self) -> None:
        super().__init__(seconds=60.0)
        self.shown: list[tuple[str, int, int | None]] = []

    def show_batches(self, stage: str, done: int, total: int | None) -> None:
        self.shown.append((stage, done, total))

    def show_training(self, status: Status) -> None:
        pass

    def show_metrics(self, *_: Any) -> None:
        pass


class SeveralLoaders(CausalLM):
    """Task with a test step that takes batches of several loaders."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().test_step(batch, batch_idx)


def test_the_last_batch_of_all_loaders_is_shown(tmp_path: Path) -> None:
    display, text = Counts(), str(write_text(tmp_path))
    settings: dict[str, Any] = {
        "tokenizer": "bytes",
        "block_size": 8,
        "batch_size": 4,
        "cache_dir": str(tmp_path / "cache"),
    }
    data = TwoLoaders(train=text, validation=text, test=text, **settings)
    task = SeveralLoaders(backbone=TINY, vocab_size=257)
    trainer(tmp_path, callbacks=[display]).test(task, datamodule=data, verbose=False)
    assert display.shown == [("testing", 2 * EPOCH, 2 * EPOCH)]


def test_short_validations_during_training_show_only_metrics(tmp_path: Path) -> None:
    display = Counts()
    made = trainer(tmp_path, callbacks=[display], max_steps=2, val_check_interval=1)
    made.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    assert display.shown == []


def test_a_step_without_labels_has_no_loss(tmp_path: Path) -> None:
    task, loop = causal_lm(), trainer(tmp_path)
    assert _loss(loop, task) is None
    metric = task.metrics("train")
    assert isinstance(metric, MeanLoss)
    metric.add_loss(torch.tensor(torch.nan), torch.tensor(0))
    assert _loss(loop, task) is None
    metric.add_loss(torch.tensor(2.0), torch.tensor(3))
    assert _loss(loop, task) == 2.0


def test_pace_leaves_out_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace(step=100, total=111)
    now = 60.0  # compilation
    pace.finish_step()
    assert (pace.is_measured(101), pace.seconds_left(101)) == (False, None)
    now = 70.0
    assert pace.is_measured(102)
    assert pace.seconds_left(102) == 90.0, "nine steps of ten seconds, validations included"
    assert [duration(s) for s in (0, 59.6, 3723)] == ["0:00", "1:00", "1:02:03"]


def in_terminal(folder: Path, *arguments: str) -> str:
    """Run the command line in a terminal of 100 columns; return what it shows."""
    parent, child = pty.openpty()
    process = fork(run_in_terminal, os.ttyname(child), folder, *arguments)
    shown = b""
    while (is_running := process.is_alive()) or select.select([parent], [], [], 0)[0]:
        if select.select([parent], [], [], 0.05 if is_running else 0)[0]:
            shown += os.read(parent, 65536)
    os.close(child)
    os.close(parent)
    assert process.exitcode == 0, shown.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "\n")


def run_in_terminal(terminal: str, folder: Path, *arguments: str) -> None:
    """Run a command whose standard streams are a terminal."""
    os.environ |= {"COLUMNS": "100", "TERM": "xterm"}
    descriptor = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    for number in range(3):
        os.dup2(descriptor, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    run_command(list(arguments), folder)


def test_a_terminal_has_one_bar_that_resumes_where_it_was(tmp_path: Path) -> None:
    write_text(tmp_path, repeats=20)
    slow = "{class_path: tests.reliability.processes.RowLog}"
    (tmp_path / "config.yaml").write_text(CONFIG.replace(slow, "[tests.reliability.processes.SlowSteps]"))
    fit = ("fit", "-c", "config.yaml", "--allow_import=tests")
    first = in_terminal(tmp_path, *fit, "--trainer.max_steps=20")
    assert "0/20" in first
    assert "20/20" in first
    shown = in_terminal(tmp_path, *fit, "--resume=auto", "--trainer.max_steps=100")
    counts = [int(step) for step in re.findall(r" (\d+)/100 ", shown)]
    assert counts[0] == 20
    assert counts[-1] == 100
    assert counts == sorted(counts)
    assert len(set(counts)) > 2, "it moves"
    bars = re.findall(r"^training .*100 .*left, loss .* tokens/s.*$", shown, re.MULTILINE)
    assert re.search(r"0:0\d left, loss \d\.\d{4}, [0-9,]+ tokens/s, val/loss \d\.\d{4}$", bars[-1].rstrip()), shown
    assert "step 40/100: val/loss" in shown
    tested = in_terminal(
        tmp_path,
        "test",
        "-c",
        "config.yaml",
        "--allow_import=tests",
        "--data.test=text.txt",
        "--ckpt_path=logs/run/version_0",
    )
    assert re.search(r"^testing .* (\d+)/\1 ", tested, re.MULTILINE), tested
