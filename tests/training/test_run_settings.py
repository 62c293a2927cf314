"""Settings that change when a run resumes are printed, with those that break bit-for-bit equality marked."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.training.run_settings import DIFFERS, changes, settings
from tests.commands.run.test_cli import Run, fit, run
from tests.runs import causal_lm, language_modeling, trainer

__all__ = ["run"]


def changed(out: str) -> set[str]:
    """Return the printed changes."""
    return {line.removeprefix("changed: ") for line in out.splitlines() if line.startswith("changed: ")}


def test_changes_on_resume_are_printed(run: Run) -> None:
    fit(run)
    assert changed(fit(run, "--resume=auto", "--trainer.max_steps=5", "--model.schedule.kind=constant")) == {
        "trainer.max_steps=5 (the checkpoint has 4)",
        f"model.schedule.kind=constant (the checkpoint has cosine){DIFFERS}",
    }
    out = fit(
        run,
        "--ckpt_path=logs/beer/version_0/checkpoints/step_4.ckpt",
        "--name=changed",
        "--trainer.precision=bf16-mixed",
        "--trainer.gradient_clip_val=0.5",
        "--trainer.limit_train_batches=3",
        "--trainer.limit_val_batches=1",
        "--trainer.max_steps=6",
        "--trainer.callbacks={class_path: EarlyStopping, init_args: {monitor: val/loss, patience: 7}}",
        "--trainer.accumulate_grad_batches=2",
        "--checkpoints.refuse_changes=false",
    )
    lines = changed(out)
    expected = {
        f"trainer.precision=bf16-mixed (the checkpoint has 32-true){DIFFERS}",
        f"trainer.gradient_clip_val=0.5 (the checkpoint has 1.0){DIFFERS}",
        f"trainer.limit_train_batches=3 (the checkpoint has 1.0){DIFFERS}",
        "trainer.limit_val_batches=1 (the checkpoint has 1.0)",
        "trainer.max_steps=6 (the checkpoint has 4)",
        f"last step of model.schedule=6 (the checkpoint has 4){DIFFERS}",
        f"trainer.accumulate_grad_batches was 1, now it is 2{DIFFERS}",
    }
    assert expected <= lines, expected - lines
    (callbacks,) = (line for line in lines if line.startswith("trainer.callbacks="))
    assert "EarlyStopping(monitor=val/loss, min_delta=-0.0, patience=7" in callbacks
    assert callbacks.endswith(f"(the checkpoint has []){DIFFERS}")


def test_nothing_is_printed_without_a_change(run: Run) -> None:
    flags = ("--trainer.callbacks={class_path: EarlyStopping, init_args: {monitor: val/loss}}", "--trainer.max_steps=6")
    fit(run, *flags)
    assert not changed(fit(run, *flags, "--ckpt_path=logs/beer/version_0/checkpoints/step_4.ckpt", "--name=again"))


def test_a_change_of_the_machine_is_found(tmp_path: Path) -> None:
    task, loop = causal_lm(), trainer(tmp_path, max_steps=2)
    loop.fit(task, datamodule=language_modeling(tmp_path))
    before, threads = settings(loop, task), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        (line,) = changes(before, settings(loop, task))
    finally:
        torch.set_num_threads(threads)
    assert line == f"changed: threads of torch={threads + 1} (the checkpoint has {threads}){DIFFERS}"
    with torch.no_grad():
        torch.set_float32_matmul_precision("high")
    try:
        (line,) = changes(before, settings(loop, task))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert "float32_matmul_precision=high" in line


@pytest.mark.parametrize(
    ("saved", "now", "line"),
    [
        (1.0, 1, f"changed: k=1 (the checkpoint has 1.0){DIFFERS}"),  # one batch instead of all
        ("\x1b[2J", "a", f"changed: k=a (the checkpoint has \\x1b[2J){DIFFERS}"),
        (3, 3, None),
    ],
)
def test_line_of_a_change(saved: Any, now: Any, line: str | None) -> None:
    assert list(changes({"k": saved}, {"k": now, "new": 1})) == ([] if line is None else [line])
