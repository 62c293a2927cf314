"""Every callback of Lightning trains as it does with a module of its own, or is refused by name.

A callback that a new version of Lightning adds has to be entered here.
"""

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from gpt_lightning.checkpoints.manifest import Manifest
from gpt_lightning.cli import main
from gpt_lightning.errors import InputError
from gpt_lightning.tasks.accumulation import num_steps
from gpt_lightning.tasks.load import load_task, read_checkpoint
from gpt_lightning.training import Checkpoints, Monitors, Validations
from gpt_lightning.unsupported_callbacks import why_unsupported
from tests.runs import causal_lm, head, language_modeling, trainer

REFUSED: Final[dict[str, Callable[[], L.Callback]]] = {
    "BackboneFinetuning": callbacks.BackboneFinetuning,
    "BaseFinetuning": type("Finetuning", (callbacks.BaseFinetuning,), {"freeze_before_training": lambda *_: None}),
    "BatchSizeFinder": callbacks.BatchSizeFinder,
    "LearningRateFinder": callbacks.LearningRateFinder,
    "ModelPruning": lambda: callbacks.ModelPruning("l1_unstructured"),
    "SpikeDetection": callbacks.SpikeDetection,
    "StochasticWeightAveraging": lambda: callbacks.StochasticWeightAveraging(0.1),
}
"""Name of a class -> function that builds it or a subclass of it."""

Trained = tuple[L.Trainer, list[dict[str, Tensor]]]
"""Trainer, and the weights before the first step and after each step."""


class Weights(L.Callback):
    """Callback that keeps the weights after each batch."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.kept.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def fit(folder: Path, *tested: L.Callback, ckpt_path: Path | None = None, **arguments: Any) -> Trained:
    """Train two epochs of three batches, with a validation after each, and save after each step."""
    folder.mkdir(exist_ok=True)
    weights = Weights()
    limits = {"max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 1}
    ours = [weights, Monitors(), Validations(), Checkpoints(every_n_steps=1, keep=9)]
    loop = trainer(folder, callbacks=[*tested, *ours], **(limits | arguments))
    loop.fit(causal_lm(), datamodule=language_modeling(folder), ckpt_path=ckpt_path, weights_only=True)
    return loop, weights.kept


def assert_resumes(folder: Path, build: Callable[[], L.Callback], **arguments: Any) -> Trained:
    """Train, resume in the middle and at the end of an epoch, compare the final weights, and return the first run."""
    straight = fit(folder, build(), **arguments)
    checkpoints = folder / "checkpoints"
    for entry in Manifest.read(checkpoints).checkpoints[:3]:
        resumed, _ = fit(folder / str(entry.step), build(), ckpt_path=checkpoints / entry.file, **arguments)
        assert resumed.global_step == straight[0].global_step
        expected = straight[0].lightning_module.state_dict()
        assert all(value.equal(expected[name]) for name, value in resumed.lightning_module.state_dict().items())
    return straight


# --- callbacks that work


def device_stats_monitor(folder: Path) -> None:
    logger = CSVLogger(folder)
    fit(folder, callbacks.DeviceStatsMonitor(), logger=logger)
    assert "DeviceStatsMonitor.on_train_batch_end/cpu_percent" in logger.experiment.metrics_keys


def early_stopping(folder: Path) -> None:
    """Check that the second validation, the first that does not improve by 10, stops the run."""
    intervals: dict[int, dict[str, Any]] = {6: {}, 4: {"val_check_interval": 2, "check_val_every_n_epoch": None}}
    for stop, interval in intervals.items():
        run, _ = assert_resumes(
            folder / str(stop), lambda: callbacks.EarlyStopping("val/loss", 10.0, patience=1), max_epochs=4, **interval
        )
        assert run.global_step == stop


def ema_weight_averaging(folder: Path) -> None:
    loop, weights = assert_resumes(folder, lambda: callbacks.EMAWeightAveraging(decay=0.75))
    average = weights[1]
    for current in weights[2:]:
        average = {name: 0.75 * value + 0.25 * current[name] for name, value in average.items()}
    assert_averaged(loop, average)


def gradient_accumulation_scheduler(folder: Path) -> None:
    loop, _ = assert_resumes(folder, lambda: GradientAccumulationScheduler({1: 2}))
    plain = trainer(
        folder,
        callbacks=[GradientAccumulationScheduler({1: 2})],
        max_epochs=2,
        limit_train_batches=3,
        limit_val_batches=0,
    )
    plain.fit(BoringModel())
    assert plain.global_step == loop.global_step == num_steps(loop) == 5


def lambda_callback(folder: Path) -> None:
    """Check that the loss is the mean that Lightning passes for a plain module, not a sum over labels."""
    losses: list[tuple[float, float]] = []

    def keep(_: L.Trainer, module: L.LightningModule, outputs: Any, *_args: Any) -> None:
        losses.append((float(outputs["loss"]), float(module.train_metrics.compute()["loss"])))  # type: ignore[operator, union-attr]

    fit(folder, callbacks.LambdaCallback(on_train_batch_end=keep))
    assert len(losses) == 6
    assert [loss for loss, _ in losses] == pytest.approx([mean for _, mean in losses])


def learning_rate_monitor(folder: Path) -> None:
    """Check that each rate is that of its step; the warmup has two steps."""
    monitor = callbacks.LearningRateMonitor("step")
    fit(folder, monitor, logger=CSVLogger(folder))
    assert monitor.lrs["lr-AdamW/pg1"] == pytest.approx([0.01 / 3, 0.02 / 3, *[0.01] * 4])


def model_checkpoint(folder: Path) -> None:
    """Check the default folder, which is that of ``Checkpoints``, and a new folder."""
    assert_resumes(folder, lambda: callbacks.ModelCheckpoint(monitor="val/loss", save_top_k=2), val_check_interval=1)
    best = callbacks.ModelCheckpoint(folder / "best", monitor="val/loss", save_top_k=2)
    fit(folder / "named", best, val_check_interval=1)
    assert set(best.best_k_models) == {str(path) for path in (folder / "best").iterdir()}
    assert len(best.best_k_models) == 2
    assert read_checkpoint(Path(best.best_model_path))["global_step"] == 6


def model_summary(folder: Path) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("lightning.pytorch.callbacks.model_summary")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    fit(folder, callbacks.ModelSummary())
    logger.removeHandler(handler)
    assert "Trainable params" in lines[0]


class Crash(L.Callback):
    """Callback that raises an exception in the fifth batch."""

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 4:
            raise RuntimeError("crash")


def on_exception_checkpoint(folder: Path) -> None:
    straight, _ = fit(folder / "straight")
    callback = callbacks.OnExceptionCheckpoint(folder)
    with pytest.raises(RuntimeError, match="crash"):
        fit(folder / "crash", callback, Crash())
    resumed, _ = fit(folder / "resumed", ckpt_path=Path(callback.ckpt_path))
    expected = straight.lightning_module.state_dict()
    assert all(value.equal(expected[name]) for name, value in resumed.lightning_module.state_dict().items())


class Predictions(callbacks.BasePredictionWriter):
    """Callback that keeps the predictions of each batch."""

    def __init__(self) -> None:
        super().__init__("batch")
        self.kept: list[Any] = []

    def write_on_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, prediction: Any, *_: Any) -> None:
        self.kept += prediction


def prediction_writer(folder: Path) -> None:
    task, data = head(folder, "classification", rows=6)
    writer = Predictions()
    trainer(folder, callbacks=[writer]).predict(task, datamodule=data, return_predictions=False)
    assert [list(row)[:2] for row in writer.kept] == [["id", "label"]] * 6


def progress_bar(bar: type[callbacks.ProgressBar]) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        loop, _ = fit(folder, bar(), enable_progress_bar=True)
        assert type(loop.progress_bar_callback) is bar

    return check


def throughput_monitor(folder: Path) -> None:
    logger = CSVLogger(folder)
    assert_resumes(folder, lambda: callbacks.ThroughputMonitor(lambda batch: len(batch["input_ids"])), logger=logger)
    assert "train/samples" in logger.experiment.metrics_keys


def timer(folder: Path) -> None:
    assert_resumes(folder, callbacks.Timer)
    assert fit(folder / "over", callbacks.Timer({"seconds": 0}))[0].global_step == 0


def weight_averaging(folder: Path) -> None:
    loop, weights = assert_resumes(folder, callbacks.WeightAveraging)
    assert_averaged(loop, {name: sum(each[name] for each in weights[1:]) / 6 for name in weights[0]})  # type: ignore[misc]


def assert_averaged(loop: L.Trainer, average: dict[str, Tensor]) -> None:
    """Check the averaged weights in the model after training, and in its last checkpoint."""
    last = Path(str(loop.default_root_dir), "checkpoints/step_6.ckpt")
    for state in (loop.lightning_module.state_dict(), load_task(last)[0].state_dict()):
        torch.testing.assert_close({name: state[name] for name in average}, average)


def no_effect(build: Callable[[], L.Callback]) -> Callable[[Path], None]:
    return lambda folder: assert_equal(fit(folder / "with", build()), fit(folder / "without"))


def assert_equal(first: Trained, second: Trained) -> None:
    """Check that two runs end with the same weights."""
    assert all(value.equal(second[1][-1][name]) for name, value in first[1][-1].items())


WORKS: Final[dict[str, Callable[[Path], None]]] = {
    "BasePredictionWriter": prediction_writer,
    "Callback": no_effect(L.Callback),
    "Checkpoint": no_effect(callbacks.Checkpoint),
    "DeviceStatsMonitor": device_stats_monitor,
    "EMAWeightAveraging": ema_weight_averaging,
    "EarlyStopping": early_stopping,
    "GradientAccumulationScheduler": gradient_accumulation_scheduler,
    "LambdaCallback": lambda_callback,
    "LearningRateMonitor": learning_rate_monitor,
    "ModelCheckpoint": model_checkpoint,
    "ModelSummary": model_summary,
    "OnExceptionCheckpoint": on_exception_checkpoint,
    "ProgressBar": progress_bar(type("Bar", (callbacks.ProgressBar,), {"disable": lambda _: None})),
    "RichModelSummary": no_effect(callbacks.RichModelSummary),
    "RichProgressBar": progress_bar(callbacks.RichProgressBar),
    "TQDMProgressBar": progress_bar(callbacks.TQDMProgressBar),
    "ThroughputMonitor": throughput_monitor,
    "Timer": timer,
    "WeightAveraging": weight_averaging,
}
"""Name of a class -> check of its effect."""


def test_the_list_is_complete() -> None:
    exported = {name for name, each in vars(callbacks).items() if inspect.isclass(each)}
    assert exported == set(callbacks.__all__) == set(WORKS) | set(REFUSED)
    assert {name for name in exported if why_unsupported(name)} == set(REFUSED)


@pytest.mark.filterwarnings(
    "ignore:(?s).*(flops_per_batch|LightningModule.optimizer_|called without a model|Couldn't infer the batch indices)"
)
@pytest.mark.filterwarnings(
    "ignore:.*(exists and is not empty|dirpath has changed|no last checkpoint available|does not have many workers)"
)
@pytest.mark.parametrize("name", WORKS)
def test_callbacks_that_work(tmp_path: Path, name: str) -> None:
    WORKS[name](tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_callbacks_that_are_refused(tmp_path: Path, name: str) -> None:
    """A subclass is refused too, before the first step."""
    with pytest.raises(InputError, match=f"^{name} is not supported: it .*"):
        fit(tmp_path, REFUSED[name]())
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("home", ["", "lightning.pytorch.callbacks."])
def test_the_command_refuses_them_before_it_reads_data(
    name: str, home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(f"trainer:\n  callbacks:\n  - class_path: {home}{name}\n")
    allow = [] if not home else [f"--allow_import={home}{name}"]
    for arguments in (["-c", "c.yaml"], [f"--trainer.callbacks+={home}{name}"]):
        with pytest.raises(SystemExit, match="2"):
            raise SystemExit(main(["fit", *arguments, *allow]))
        assert f"{name} is not supported: it" in " ".join(capsys.readouterr().err.split())
