"""Every argument of Lightning's Trainer has its effect, measured on a tiny run.

An argument that a new version of Lightning adds has to be entered here. Invalid values, and the arguments that the
command line refuses, are in ``tests/commands/run/test_trainer_arguments.py``.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import RichModelSummary, RichProgressBar
from lightning.pytorch.plugins import DoublePrecision
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.strategies import DeepSpeedStrategy, SingleDeviceStrategy
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.tasks.settings import check_strategy
from gpt_lightning.training import Checkpoints, Throughput, Validations
from tests.runs import causal_lm, head, language_modeling, trainer
from tests.tasks.test_causal_lm import Log


class Probe(L.Callback):
    """Callback that records batches, validations, gradients and the state of torch, and may request to stop."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.batches: list[list[list[int]]] = []
        self.validated_at: list[int] = []
        self.num_evaluated = 0
        self.gradients: list[Tensor] = []
        self.state: dict[str, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        optimizer = trainer.optimizers[0]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        optimizer.register_step_post_hook(
            lambda *_: self.gradients.append(torch.cat([each.grad.flatten() for each in parameters]))
        )

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        self.state = {
            "anomaly": torch.is_anomaly_enabled(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "benchmark": torch.backends.cudnn.benchmark,
        }

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch["input_ids"].tolist())
        if trainer.global_step == self.stop_at:
            trainer.should_stop = True

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.validated_at.append(trainer.global_step)

    def count(self, *_: Any) -> None:
        self.num_evaluated += 1
        self.state["inference_mode"] = torch.is_inference_mode_enabled()

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = count  # type: ignore[assignment]


class Run:
    """Training of 4 steps in one epoch with 5 batches, unless the arguments change it."""

    def __init__(self, folder: Path, *callbacks: L.Callback, stop_at: int | None = None, **arguments: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.probe, self.log = Probe(stop_at), Log()
        limits = {} if "max_epochs" in arguments or "max_time" in arguments else {"max_steps": 4}
        defaults = {"logger": self.log, "log_every_n_steps": 1, **limits}
        ckpt_path = arguments.pop("ckpt_path", None)
        self.trainer = trainer(folder, callbacks=[self.probe, *callbacks], **(defaults | arguments))
        self.task = causal_lm()
        self.trainer.fit(self.task, datamodule=language_modeling(folder), ckpt_path=ckpt_path, weights_only=True)
        self.step = self.trainer.global_step

    def trained_like(self, other: "Run") -> bool:
        """Return whether two runs end with the same weights."""
        state = other.task.state_dict()
        return all(value.equal(state[name]) for name, value in self.task.state_dict().items())

    @property
    def logged_at(self) -> list[float]:
        """The steps at which the loss was logged."""
        return [line["step"] for line in self.log.lines if "train/loss" in line]


def evaluate(folder: Path, function: str, **arguments: Any) -> Probe:
    """Run another function of the Trainer on a classifier with four batches."""
    task, data = head(folder, "classification", rows=8, batch_size=2)
    probe = Probe()
    loop = trainer(folder, callbacks=[probe], **arguments)
    if function == "predict":
        loop.predict(task, datamodule=data, return_predictions=False)
    else:
        getattr(loop, function)(task, datamodule=data, verbose=False)
    return probe


def accelerator(folder: Path) -> None:
    assert Run(folder, accelerator="cpu").task.device.type == "cpu"


def accumulate_grad_batches(folder: Path) -> None:
    """Check that 5 batches make two steps of two batches and one of the last batch."""
    assert Run(folder, max_epochs=1, accumulate_grad_batches=2).step == 3


def barebones(folder: Path) -> None:
    """Check that nothing is logged, and that the weights are the same."""
    conflicting = ("logger", "log_every_n_steps", "num_sanity_val_steps")
    off: Any = dict.fromkeys((*conflicting, "enable_checkpointing", "enable_progress_bar", "enable_model_summary"))
    run = Run(folder / "barebones", Throughput(), barebones=True, **off)
    assert not run.trainer.callback_metrics
    assert run.trained_like(Run(folder / "full"))


def benchmark(folder: Path) -> None:
    assert Run(folder, benchmark=True).probe.state["benchmark"]


def callbacks(folder: Path) -> None:
    """Check that a callback is called. Another test has those of Lightning."""
    assert len(Run(folder).probe.batches) == 4


def check_val_every_n_epoch(folder: Path) -> None:
    assert Run(folder, max_epochs=4, limit_train_batches=1, check_val_every_n_epoch=2).probe.validated_at == [2, 4]


def default_root_dir(folder: Path) -> None:
    Run(folder, Checkpoints(), default_root_dir=folder / "here", enable_checkpointing=True, logger=False)
    assert list(folder.glob("here/checkpoints/step_4.ckpt"))


def detect_anomaly(folder: Path) -> None:
    assert Run(folder, detect_anomaly=True).probe.state["anomaly"]


def deterministic(folder: Path) -> None:
    assert Run(folder, deterministic=True).probe.state["deterministic"]


def devices(folder: Path) -> None:
    """Check one device. Other tests have two ranks."""
    assert Run(folder, devices=1, num_nodes=1).trainer.world_size == 1


def enable_autolog_hparams(folder: Path) -> None:
    """Check the hook of loggers for the graph. Tasks leave hyper-parameters to the configuration file of the run."""
    graphs: list[bool] = []
    for enabled in (True, False):
        log = Log()
        log.log_graph = lambda *_, enabled=enabled: graphs.append(enabled)  # type: ignore[method-assign]
        Run(folder, logger=log, enable_autolog_hparams=enabled)
    assert graphs == [True]


def enable_checkpointing(folder: Path) -> None:
    Run(folder, Checkpoints(), enable_checkpointing=True, logger=False)
    assert (folder / "checkpoints/step_4.ckpt").exists()
    assert not Run(folder, enable_checkpointing=False).trainer.checkpoint_callbacks


def enable_model_summary(folder: Path) -> None:
    found = Run(folder, enable_model_summary=True).trainer.callbacks  # type: ignore[attr-defined]
    assert any(isinstance(each, RichModelSummary) for each in found)


def enable_progress_bar(folder: Path) -> None:
    assert isinstance(Run(folder, enable_progress_bar=True).trainer.progress_bar_callback, RichProgressBar)


def fast_dev_run(folder: Path) -> None:
    run = Run(folder, Checkpoints(), Validations(), fast_dev_run=2, enable_checkpointing=True)
    assert (run.step, run.probe.num_evaluated) == (2, 2)
    assert not list(folder.rglob("*.ckpt"))


def gradient_clip_val(folder: Path, algorithm: str | None = None) -> None:
    norms = [each.norm() for each in Run(folder / "off", gradient_clip_val=None).probe.gradients]
    assert min(norms) > 0.1
    for algorithm, order in ((None, 2.0), ("norm", 2.0), ("value", torch.inf)):
        clipped = Run(folder / str(algorithm), gradient_clip_val=0.01, gradient_clip_algorithm=algorithm)
        assert [float(each.norm(order)) for each in clipped.probe.gradients] == pytest.approx([0.01] * 4, rel=1e-4)


def inference_mode(folder: Path) -> None:
    for enabled in (True, False):
        assert evaluate(folder, "validate", inference_mode=enabled).state["inference_mode"] is enabled


def limit_train_batches(folder: Path) -> None:
    assert [Run(folder, max_epochs=2, limit_train_batches=limit).step for limit in (2, 0.6)] == [4, 6]


def limit_evaluation(folder: Path, function: str, name: str) -> None:
    assert [evaluate(folder, function, **{name: limit}).num_evaluated for limit in (1, 0.5, 1.0)] == [1, 2, 4]


def log_every_n_steps(folder: Path) -> None:
    """Check the steps of the logged losses, which Lightning counts from 0."""
    assert [Run(folder, log_every_n_steps=every).logged_at for every in (0, 1, 2)] == [[], [0, 1, 2, 3], [1, 3]]


def logger(folder: Path) -> None:
    run = Run(folder)
    assert run.logged_at == [0, 1, 2, 3]
    assert not Run(folder, logger=False).trainer.loggers


def max_epochs(folder: Path) -> None:
    assert Run(folder, max_epochs=2).step == 10


def max_steps(folder: Path) -> None:
    assert Run(folder, max_steps=7).step == 7


def max_time(folder: Path) -> None:
    assert Run(folder, max_time="00:00:00:00").step == 0
    assert Run(folder, max_time="00:01:00:00", max_epochs=1).step == 5


def min_length(folder: Path, **minimum: int) -> None:
    """Check that a request to stop waits for the minimum, without a checkpoint after each step until then."""
    assert Run(folder / "stop", stop_at=1, max_epochs=3).step == 1
    checkpoints = Checkpoints(keep=20)
    run = Run(folder / "go", checkpoints, stop_at=1, max_epochs=3, logger=False, enable_checkpointing=True, **minimum)
    assert run.step == minimum.get("min_steps", 10)
    assert len(checkpoints.manifest.checkpoints) <= 2


def model_registry(folder: Path) -> None:
    """Check that the weights are the same. The command line refuses this argument, as nothing is uploaded."""
    assert Run(folder / "with", model_registry="name").trained_like(Run(folder / "without"))


def num_sanity_val_steps(folder: Path) -> None:
    run = Run(folder / "sanity", num_sanity_val_steps=2, max_epochs=1)
    assert run.probe.validated_at == [0, 5]
    assert run.trained_like(Run(folder / "none", max_epochs=1))


def overfit_batches(folder: Path) -> None:
    """Check that all epochs repeat the batches of the first, also after a resume."""
    for name, limit, number in (("int", 2, 2), ("float", 0.4, 2)):
        limits: Any = {"overfit_batches": limit, "max_epochs": 3, "enable_checkpointing": True, "logger": False}
        run = Run(folder / name, Checkpoints(every_n_steps=1, keep=9), **limits)
        first = run.probe.batches[:number]
        assert run.probe.batches == first * 3
        assert run.probe.num_evaluated == number * 3
        saved = folder / name / "checkpoints/step_3.ckpt"
        resumed = Run(folder / f"{name} again", Checkpoints(), ckpt_path=saved, **limits)
        assert resumed.probe.batches == [*first, *first][1:][:3]
        assert resumed.trained_like(run)


def plugins(folder: Path) -> None:
    assert Run(folder, plugins=[DoublePrecision()]).task.head.weight.dtype == torch.float64


def precision(folder: Path) -> None:
    """Check the type of the weights. On a CPU, Lightning replaces ``16-mixed`` by ``bf16-mixed`` with a warning."""
    float32, bfloat16 = torch.float32, torch.bfloat16
    kept = {"32-true": float32, "64-true": torch.float64, "bf16-true": bfloat16, "16-true": torch.float16}
    for name, dtype in (kept | {"bf16-mixed": float32, "16-mixed": float32}).items():
        run = Run(folder / name, precision=name, max_steps=1)
        assert {each.dtype for each in run.task.parameters()} == {dtype}


def profiler(folder: Path) -> None:
    found = Run(folder, profiler="simple").trainer.profiler  # type: ignore[attr-defined]
    assert isinstance(found, SimpleProfiler)
    assert len(found.recorded_durations["run_training_batch"]) == 4


def reload_dataloaders_every_n_epochs(folder: Path) -> None:
    calls: list[int] = []

    class Reloads(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            calls.append(id(trainer.train_dataloader))

    first = Run(folder / "reload", Reloads(), max_epochs=2, reload_dataloaders_every_n_epochs=1)
    assert first.trained_like(Run(folder / "once", max_epochs=2))
    assert first.probe.batches == Run(folder / "again", max_epochs=2).probe.batches
    assert len(set(calls)) == 2


def strategy(folder: Path) -> None:
    Run(folder, strategy=SingleDeviceStrategy(device="cpu"))
    with pytest.raises(InputError, match=r"trainer\.strategy DeepSpeedStrategy is not supported"):
        check_strategy(object.__new__(DeepSpeedStrategy), causal_lm().optimizer_config)


def without_effect_here(folder: Path, **arguments: Any) -> None:
    """Check that the weights are the same. Loaders share rows among ranks, and models have no batch normalization."""
    assert Run(folder / "with", **arguments).trained_like(Run(folder / "without"))


def val_check_interval(folder: Path) -> None:
    intervals: list[tuple[Any, list[int]]] = [(2, [2, 4]), (0.4, [2, 4]), ("00:00:00:00", [1, 2, 3, 4, 5])]
    for interval, expected in [*intervals, ({"hours": 1}, [5])]:
        run = Run(folder, Validations(), val_check_interval=interval, max_epochs=1)
        assert run.probe.validated_at == (expected if 5 in expected else [*expected, 5])


EFFECTS: Final[dict[str, Callable[[Path], None]]] = {
    "accelerator": accelerator,
    "accumulate_grad_batches": accumulate_grad_batches,
    "barebones": barebones,
    "benchmark": benchmark,
    "callbacks": callbacks,
    "check_val_every_n_epoch": check_val_every_n_epoch,
    "default_root_dir": default_root_dir,
    "detect_anomaly": detect_anomaly,
    "deterministic": deterministic,
    "devices": devices,
    "enable_autolog_hparams": enable_autolog_hparams,
    "enable_checkpointing": enable_checkpointing,
    "enable_model_summary": enable_model_summary,
    "enable_progress_bar": enable_progress_bar,
    "fast_dev_run": fast_dev_run,
    "gradient_clip_algorithm": gradient_clip_val,
    "gradient_clip_val": gradient_clip_val,
    "inference_mode": inference_mode,
    "limit_predict_batches": partial(limit_evaluation, function="predict", name="limit_predict_batches"),
    "limit_test_batches": partial(limit_evaluation, function="test", name="limit_test_batches"),
    "limit_train_batches": limit_train_batches,
    "limit_val_batches": partial(limit_evaluation, function="validate", name="limit_val_batches"),
    "log_every_n_steps": log_every_n_steps,
    "logger": logger,
    "max_epochs": max_epochs,
    "max_steps": max_steps,
    "max_time": max_time,
    "min_epochs": partial(min_length, min_epochs=2),
    "min_steps": partial(min_length, min_steps=7),
    "model_registry": model_registry,
    "num_nodes": devices,
    "num_sanity_val_steps": num_sanity_val_steps,
    "overfit_batches": overfit_batches,
    "plugins": plugins,
    "precision": precision,
    "profiler": profiler,
    "reload_dataloaders_every_n_epochs": reload_dataloaders_every_n_epochs,
    "strategy": strategy,
    "sync_batchnorm": partial(without_effect_here, sync_batchnorm=True),
    "use_distributed_sampler": partial(without_effect_here, use_distributed_sampler=True),
    "val_check_interval": val_check_interval,
}
"""Argument of the Trainer -> check of its effect."""


@pytest.fixture(autouse=True)
def global_state() -> Iterator[None]:
    """Undo what some arguments set in torch for the whole process."""
    benchmark, default = torch.backends.cudnn.benchmark, torch.get_default_dtype()
    yield
    torch.backends.cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(False)
    torch.autograd.set_detect_anomaly(False)
    torch.set_default_dtype(default)


def test_the_list_is_complete() -> None:
    assert list(EFFECTS) == sorted(inspect.signature(L.Trainer).parameters)


@pytest.mark.filterwarnings("ignore:.*(not supported on CPU|anomaly|Anomaly|self.log|batch indices)")
@pytest.mark.parametrize("name", EFFECTS)
def test_every_argument_has_its_effect(tmp_path: Path, name: str) -> None:
    EFFECTS[name](tmp_path)
