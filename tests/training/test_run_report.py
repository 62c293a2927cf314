"""History and report of a run."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest

from gpt_lightning.evaluation.run_report import history
from gpt_lightning.training import (
    Checkpoints,
    Reports,
    RunHistory,
    RunReport,
    Samples,
    StepAxis,
    Validations,
)
from gpt_lightning.training.run_history import keep_text
from tests.heads import TOPICS, CommandLine
from tests.pages.markup import check_page
from tests.runs import causal_lm, language_modeling, trainer


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def run_trainer(folder: Path, **arguments: Any) -> L.Trainer:
    """Return a trainer that validates and samples every second step, and writes a report."""
    ours = [StepAxis(), Validations(), Samples(max_new_tokens=3), Reports(), RunHistory(), RunReport(), Checkpoints()]
    defaults: dict[str, Any] = {"max_steps": 6, "val_check_interval": 2, "check_val_every_n_epoch": None}
    callbacks = [*ours, *arguments.pop("callbacks", [])]
    return trainer(folder, **(defaults | arguments), callbacks=callbacks)


class Stop(L.Callback):
    """Callback that stops training like a crash before an optimizer step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step + 1 == self.step:
            raise KeyError("crash")


def without_times(found: history.History) -> dict[str, list[tuple[float, float]]]:
    return {tag: points for tag, points in found.scalars.items() if not tag.startswith("workload/")}


def test_history_has_every_logged_value_without_a_logger(tmp_path: Path) -> None:
    fit = run_trainer(tmp_path)
    fit.fit(causal_lm(), language_modeling(tmp_path))
    found = history.read(tmp_path)
    assert [step for step, _ in found.scalars["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in found.scalars["val/loss"]] == [2, 4, 6]
    assert found.scalars["val/loss"][-1][1] == float(fit.callback_metrics["val/loss"])
    assert [step for step, _ in found.texts["sample/0"]] == [2, 4, 6]
    page = check_page((tmp_path / "report.html").read_text()).text
    for part in ("CausalLM", "trainer.max_steps=6", "val/loss", "sample/0 at step 6", "torch", "train digest"):
        assert part in page


def test_a_crashed_and_resumed_run_has_the_whole_history(tmp_path: Path) -> None:
    """The run crashes two steps after its last checkpoint, and those steps are not repeated in the history."""
    (whole := tmp_path / "whole").mkdir()
    run_trainer(whole).fit(causal_lm(), language_modeling(whole))
    (run := tmp_path / "run").mkdir()
    with pytest.raises(KeyError, match="crash"):
        run_trainer(run, callbacks=[Stop(6)]).fit(causal_lm(), language_modeling(run))
    with (run / history.FILE).open("a") as file:
        file.write('{"step": 5, "sca')
    assert [step for step, _ in history.read(run).scalars["train/loss"]] == [1, 2, 3, 4, 5]
    ckpt_path = run / "checkpoints" / "step_4.ckpt"
    run_trainer(run).fit(causal_lm(), language_modeling(run), ckpt_path=ckpt_path, weights_only=True)
    assert without_times(history.read(run)) == without_times(history.read(whole))
    assert history.read(run).texts == history.read(whole).texts


def test_a_checkpoint_resumed_in_another_folder_brings_its_history(tmp_path: Path) -> None:
    (first := tmp_path / "first").mkdir()
    run_trainer(first, max_steps=4).fit(causal_lm(), language_modeling(tmp_path))
    (second := tmp_path / "second").mkdir()
    ckpt_path = first / "checkpoints" / "step_4.ckpt"
    run_trainer(second).fit(causal_lm(), language_modeling(tmp_path), ckpt_path=ckpt_path, weights_only=True)
    assert [step for step, _ in history.read(second).scalars["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in history.read(first).scalars["train/loss"]] == [1, 2, 3, 4]


def test_a_development_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = language_modeling(tmp_path)
    (run := tmp_path / "run").mkdir()
    monkeypatch.chdir(run)
    run_trainer(run, fast_dev_run=True).fit(causal_lm(), data)
    assert not list(run.iterdir())


@pytest.mark.parametrize("name", ["report.html", "report.json", "history.jsonl"])
def test_a_failed_write_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).mkdir()  # root may write to read-only files, but nobody replaces a folder by a file
    (tmp_path / name / "file").touch()
    fit = run_trainer(tmp_path, max_steps=2)
    fit.fit(causal_lm(), language_modeling(tmp_path))
    assert fit.global_step == 2
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert str(tmp_path / name) in warnings[0]


def test_texts_are_kept_only_during_training(tmp_path: Path) -> None:
    fit = trainer(tmp_path, callbacks=[RunHistory()])
    keep_text(fit, "sample/0", "text")
    assert not (tmp_path / history.FILE).exists()


def test_command_line_run_and_test(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "environment-secret")
    run = cli.fit("topics", "--trainer.logger=CSVLogger", "--data.cache_dir=cache dir")
    page = (run / "report.html").read_text()
    assert "test/accuracy" not in page
    facts = json.loads((run / "report.json").read_text())
    validation = facts["validation"]
    assert validation["classes"] == sorted({label for _, label in TOPICS})
    correct = sum(row[place] for place, row in enumerate(validation["confusion_matrix"]))
    assert history.read(run).scalars["val/accuracy"][-1][1] == pytest.approx(correct / len(TOPICS))
    assert [row[3] for row in validation["per_class"]] == [1, 3, 3]
    assert len(facts["hardest"]) == len(TOPICS) - correct > 0
    changed = {key: (value, default) for key, value, default in facts["changed"]}
    assert changed["model.optimizer.lr"] == ("0.01", "0.0006")
    assert changed["trainer.max_steps"] == ("4", "-1")
    assert "model.optimizer.betas" not in changed
    assert "'--data.cache_dir=cache dir'" in facts["commands"][0]
    assert facts["commands"][1].endswith(f"fit -c {run / 'config.yaml'}")
    assert cli("test", "-c", str(run / "config.yaml"), f"--ckpt_path={run}") == 0, cli.err
    tested = check_page((run / "report.html").read_text()).text
    accuracy = json.loads((run / "metrics.json").read_text())["metrics"]["accuracy"]
    assert f"test/accuracy{accuracy:.4g}" in "".join(tested.split())
    assert "Scores of each class on the test data" in tested
    assert "environment-secret" not in page


def test_report_can_be_turned_off(cli: CommandLine) -> None:
    run = cli.fit("topics", "--report=false")
    assert not {path.name for path in run.iterdir()} & {"report.html", "report.json", "history.jsonl"}


def test_resuming_a_finished_run_keeps_its_report(cli: CommandLine) -> None:
    run = cli.fit("topics", "--name=a")
    before = [(run.parent / "a" / name).read_bytes() for name in ("report.html", "report.json", "history.jsonl")]
    assert cli("fit", "-c", "topics.yaml", "--name=a", "--resume=auto") == 0, cli.err
    assert before == [
        (run.parent / "a" / name).read_bytes() for name in ("report.html", "report.json", "history.jsonl")
    ]
