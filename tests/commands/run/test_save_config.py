"""``config.yaml`` of a run: it starts a new run with the same settings, whichever listed classes it names."""

from pathlib import Path

import yaml

from tests.commands.run.test_cli import Run, fit, run

__all__ = ["run"]

CALLBACKS = """\
trainer:
  max_steps: -1
  max_epochs: 1
  limit_train_batches: 2
  callbacks:
  - DeviceStatsMonitor
  - {class_path: EarlyStopping, init_args: {monitor: val/loss}}
  - {class_path: GradientAccumulationScheduler, init_args: {scheduling: {0: 1}}}
  - LearningRateMonitor
  - {class_path: RichModelSummary, init_args: {max_depth: 0}}
  - EMAWeightAveraging
  - Timer
"""


def test_configuration_with_listed_callbacks_starts_a_new_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "callbacks.yaml").write_text(CALLBACKS)
    fit(run, "-c", "callbacks.yaml")
    saved = tmp_path / "logs/beer/version_0/config.yaml"
    callbacks = {
        each["class_path"]: each["init_args"] for each in yaml.safe_load(saved.read_text())["trainer"]["callbacks"]
    }
    assert callbacks["lightning.pytorch.callbacks.Timer"]["interval"] == "step"
    assert "lightning.pytorch.callbacks.EMAWeightAveraging" in callbacks
    code, _, err = run("fit", "-c", str(saved))
    assert code == 0, err
    assert (tmp_path / "logs/beer/version_1/config.yaml").read_bytes() == saved.read_bytes()


def test_names_with_brackets_and_control_characters_are_printed_as_they_are(run: Run) -> None:
    out = fit(run, "--experiment=[bold]a[/b]\x1b[31m", "--trainer.max_steps=1")
    assert "last: logs/[bold]a[/b]\\x1b[31m/version_0/checkpoints/step_1.ckpt" in out
    assert "\x1b" not in out
