"""What all tasks share: one backbone, one optimizer step that weighs tokens, one way to log and to save."""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_type_hints

import lightning.pytorch as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torchmetrics import Metric

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.checkpoints.read import load_backbone
from gpt_lightning.errors import InputError, RunError
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.gpt import INIT_STD
from gpt_lightning.models.lora import LoRA, add_adapters, check_base, merge_adapters, weights_sha256
from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule
from gpt_lightning.tasks.error_examples import Worst
from gpt_lightning.tasks.mean_gradients import LOSS_SCALE, Window, gradient_norm
from gpt_lightning.tasks.settings import check_adapters, check_strategy, why_not_resumed

Stage = Literal["train", "val", "test"]

ROWS_AT_ONCE = 64
"""Windows that go through the backbone together when a text is judged."""


class Task(L.LightningModule, ABC):
    """Backbone + head + loss + metrics. A task says how a batch becomes a loss; everything else is here.

    Gradients are those of the mean over all labelled tokens of an optimizer step (``window.py``).

    Args:
        backbone: the transformer's shape.
        vocab_size: the tokenizer's number of ids; filled in from the data.
        optimizer: how gradients become steps.
        schedule: the learning rate over time.
        init_from: a checkpoint or a run's folder whose backbone training starts from; None starts from random weights.
        fine_tuning: what of the backbone is frozen or learns more slowly.
        lora: adapters that are trained in place of the backbone.
    """

    batch: ClassVar[type]
    """The TypedDict of ``batch.py`` that the task reads."""

    takes_from_data: ClassVar[Mapping[str, str]] = {"vocab_size": "vocab_size"}
    """Argument of the task -> attribute of the data module that fills it in."""

    first_step: int | None = None
    """Where training began or went on; None if it did neither."""

    def __init__(
        self,
        backbone: GPTConfig,
        vocab_size: int | None,
        optimizer: OptimizerConfig,
        schedule: Schedule,
        init_from: str | None,
        fine_tuning: FineTuning,
        lora: LoRA = LoRA(),
    ) -> None:
        super().__init__()
        if lora.r:
            check_adapters(init_from, fine_tuning)
        if backbone.vocab_size is None:
            backbone = replace(backbone, vocab_size=vocab_size)
        elif vocab_size is not None and vocab_size > backbone.vocab_size:
            raise InputError(
                f"the tokenizer has {vocab_size} ids but model.backbone.vocab_size={backbone.vocab_size}; "
                "raise it, or leave it out to take the tokenizer's"
            )
        self.backbone = GPT(backbone)
        if init_from is not None:
            load_backbone(self.backbone, init_from)
        fine_tuning.freeze_parameters(self.backbone, backbone.n_layer)
        self.init_from = init_from
        self.frozen_sha256: dict[str, str] = {}  # of parts that are left to init_from, and in no checkpoint
        if lora.r:
            self.frozen_sha256["backbone"] = weights_sha256(self.backbone)
            add_adapters(self.backbone, lora)
        self.optimizer_config = optimizer
        self.schedule = schedule
        self.fine_tuning = fine_tuning
        self.classes: list[str] = []  # what the rows of tables are of
        self.worst = Worst()
        self.tables: dict[Stage, dict[str, Tensor]] = {}  # what an epoch measured beside numbers, such as a matrix
        self._window = Window()
        self._labels_seen = 0.0  # in this epoch
        self._skipped_steps = 0

    head: nn.Module
    train_metrics: Metric
    val_metrics: Metric
    test_metrics: Metric

    @abstractmethod
    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the mean loss of ``batch`` over its labels, and update the metrics of ``stage``."""

    def metrics(self, stage: Stage) -> Metric:
        """The metric of ``stage``; its ``compute()`` gives a name to each of its values."""
        metric: Metric = getattr(self, f"{stage}_metrics")
        return metric

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """(): how many labels the mean loss of ``batch`` is the mean of, or their weights' sum."""
        labels: Tensor = batch["labels"]
        return (labels != IGNORE_INDEX).sum()

    def flops_per_token(self) -> int:
        """Floating-point operations of one training step (forward and backward) a token."""
        head = sum((6 if p.requires_grad else 4) * p.numel() for p in self.head.parameters())
        return self.backbone.flops_per_token() + head

    # --- checkpoints

    def keep_hparams(self, **hparams: Any) -> None:
        """Save the constructor's arguments with every checkpoint, as plain numbers, strings, lists and dicts.

        Anything else could not be loaded again without pickle. Where a checkpoint leaves weights to ``init_from``, that
        is among them.
        """
        plain = {name: asdict(value) if is_dataclass(value) else value for name, value in hparams.items()}  # type: ignore[arg-type]
        if self.frozen_sha256:
            plain["init_from"] = self.init_from
        self.save_hyperparameters({"task": type(self).__name__, **plain}, logger=False)

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any]) -> Self:
        """The task that a checkpoint holds, weights and all; adapters are merged into them.

        Raises:
            InputError: the weights that its adapters were trained beside are gone, or others.
        """
        hparams, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
        lora = LoRA.of(hparams)
        task = cls.from_hparams({name: value for name, value in hparams.items() if name != "lora"})
        if lora.r:
            saved = checkpoint.get("frozen_sha256", {})
            parts = {part: weights_sha256(task.get_submodule(part)) for part in {"backbone", *saved}}
            check_base(saved, parts, task.init_from, "--init_from")
            merge_adapters(task.backbone, state, lora)
            rest = {name: value for name, value in state.items() if not name.startswith("backbone.")}
            state = {**task.state_dict(), **rest}
        task.load_state_dict(state)
        return task

    @classmethod
    def from_hparams(cls, hyper_parameters: Mapping[str, Any]) -> Self:
        """The task that a checkpoint's hyper-parameters describe, with the weights of ``init_from`` or random ones."""
        hparams = dict(hyper_parameters)
        if hparams.pop("task") != cls.__name__:
            raise InputError(f"the checkpoint holds a {hyper_parameters['task']}, not a {cls.__name__}")
        types = get_type_hints(cls.__init__)
        arguments = {name: types[name](**v) if is_dataclass(types[name]) else v for name, v in hparams.items()}
        return cls(**arguments)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how many micro-batches wait for an optimizer step, as when validation falls between two of a window.

        What stays as ``init_from`` has it beside adapters is left out.
        """
        if self.frozen_sha256:
            frozen = self._frozen()
            state = checkpoint["state_dict"].items()
            checkpoint["state_dict"] = {name: value for name, value in state if name not in frozen}
            checkpoint["frozen_sha256"] = self.frozen_sha256
        checkpoint["waiting_batches"] = len(self._window)
        checkpoint["skipped_steps"] = self._skipped_steps
        checkpoint["labels_seen"] = self._labels_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go back to the last optimizer step: gradients of the micro-batches since are in no checkpoint.

        Raises:
            InputError: the optimizer's state in it is that of another kind, or of other groups of parameters, or its
                adapters were trained beside other weights.
        """
        if self.frozen_sha256:
            check_base(checkpoint.get("frozen_sha256"), self.frozen_sha256, self.init_from, "--model.init_from")
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **self._frozen()}
        reason = why_not_resumed(checkpoint["hyper_parameters"], self.optimizer_config, self.fine_tuning)
        if reason is not None and self.trainer.state.fn == "fit":
            raise InputError(reason)
        self._skipped_steps = checkpoint.get("skipped_steps", 0)
        self._labels_seen = checkpoint.get("labels_seen", 0.0)
        waiting = checkpoint.get("waiting_batches", 0)
        if not waiting:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["current"], progress["total"]):
            for name in ("ready", "started", "processed", "completed"):
                counts[name] -= waiting

    def _frozen(self) -> dict[str, nn.Parameter]:
        """What is not trained, by its names."""
        state = self.state_dict(keep_vars=True).items()
        return {name: value for name, value in state if isinstance(value, nn.Parameter) and not value.requires_grad}

    # --- one step

    @property
    def is_accumulating(self) -> bool:
        """Whether gradients wait for more micro-batches before the optimizer steps."""
        return len(self._window) > 0

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """The scaled sum of losses, for the backward pass; ``train/loss`` is logged as the mean."""
        loss, weight = self.step(batch, "train"), self.weight(batch)
        return self._window.add(loss, weight, batch.get("ids", []))

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Update the metrics of ``val``."""
        self.step(batch, "val")

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Update the metrics of ``test``."""
        self.step(batch, "test")

    # --- the optimizer

    def setup(self, stage: str) -> None:
        """Refuse strategies whose gradients would not become means.

        Raises:
            InputError: it is one, or it shares out matrices that Muon must see whole.
        """
        if stage == "fit":
            check_strategy(self.trainer.strategy, self.optimizer_config)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer; its rate is set anew before each step, by ``on_train_batch_start``."""
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise InputError("model.fine_tuning.freeze leaves nothing to train; lower it")
        lr, n_layer = self.optimizer_config.lr, self.backbone.config.n_layer
        return self.optimizer_config.build(
            self, lambda name: self.fine_tuning.layer(name, n_layer, lr), self.backbone.matrices()
        )

    def on_train_start(self) -> None:
        """Let the settings given now win over those that the optimizer was saved with."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        for group, fresh in zip(optimizer.param_groups, self.configure_optimizers().param_groups, strict=True):
            group.update({key: value for key, value in fresh.items() if key != "params"})
        self.first_step = self.trainer.global_step
        run_steps = self.trainer.estimated_stepping_batches
        if run_steps == math.inf and self.schedule.kind != "constant" and self.schedule.total_steps is None:
            raise InputError(
                f"schedule.kind={self.schedule.kind} decays until the end of the run, which nothing sets; "
                "give schedule.total_steps, trainer.max_steps or trainer.max_epochs"
            )
        self._run_steps = int(min(run_steps, sys.maxsize))

    def on_train_batch_start(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Set this step's learning rate."""
        ratio = self.schedule.ratio(self.trainer.global_step, self._run_steps)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.optimizer_config.lr * group["lr_ratio"] * ratio

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, and let go of the gradients: Lightning would keep them through the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Turn the sum of gradients into the mean over the labels of all micro-batches and ranks, and clip it.

        Raises:
            RunError: the loss or the gradients are not finite.
        """
        precision, fused = self.trainer.precision_plugin, getattr(optimizer, "_step_supports_amp_scaling", False)
        if fused and isinstance(precision, MixedPrecision) and precision.scaler is not None:
            # Lightning leaves float16's scale to a fused optimizer's step, which comes after the clipping.
            precision.scaler.unscale_(optimizer)
        total, ids = self._window.close()
        weight, loss = self.trainer.strategy.reduce(total, reduce_op="sum").unbind()
        # Lightning divided by the micro-batches of a step, DDP by the ranks.
        divided_by = self.trainer.accumulate_grad_batches * self.trainer.world_size
        # Without a single label the gradients are 0 and stay 0.
        to_mean = torch.where(weight > 0.0, divided_by / (weight * LOSS_SCALE), 0.0)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        norm = gradient_norm(gradients, self.trainer.strategy) * to_mean
        # float16's own scale makes gradients overflow now and then, and leaves such steps out.
        scaled = isinstance(precision, MixedPrecision) and precision.scaler is not None
        finite, labels = torch.stack((loss if scaled else loss + norm, weight)).tolist()
        if not math.isfinite(finite):
            self._skip_step(parameters, float(loss), float(norm), ids)
            return
        self._labels_seen += labels
        if gradient_clip_val and gradient_clip_algorithm != "value":
            to_mean = to_mean * (gradient_clip_val / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, to_mean)
        if gradient_clip_val and gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        self._gradient_norm = norm

    def _skip_step(self, parameters: list[nn.Parameter], loss: float, norm: float, ids: list[str]) -> None:
        """Leave the weights as they are, if the user allows for it and it does not come too often.

        Raises:
            RunError: it has come too often.
        """
        self._skipped_steps += 1
        step, allowed = self.trainer.global_step + 1, self.optimizer_config.max_skipped_steps
        others = f", and those of {self.trainer.world_size - 1} other devices" if self.trainer.world_size > 1 else ""
        what = (
            f"step {step}: the loss is {loss:g}, the norm of the gradients {norm:g}; its rows: {', '.join(ids)}{others}"
        )
        if self._skipped_steps > allowed:
            raise RunError(
                f"{what}. No such number is in any checkpoint; look at these rows, lower model.optimizer.lr, or let so "
                f"many steps be left out with model.optimizer.max_skipped_steps (it is {allowed})"
            )
        if self.trainer.is_global_zero:
            print(f"left out {what} ({self._skipped_steps} of at most {allowed})", file=sys.stderr, flush=True)
        self._gradient_norm = torch.full((), norm)
        for parameter in parameters:
            parameter.grad = None  # which the optimizer passes over

    # --- what is logged

    def on_train_batch_end(self, outputs: Any, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Every ``log_every_n_steps`` optimizer steps, log the mean over the labels since the last time."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.is_accumulating or self.trainer.global_step % every:
            return
        metric = self.metrics("train")
        self.log("train/loss", metric.compute()["loss"], prog_bar=True)
        metric.reset()
        ratio = self.schedule.ratio(self.trainer.global_step - 1, self._run_steps)
        self.log("train/learning_rate", self.optimizer_config.lr * ratio)
        self.log("train/gradient_norm", self._gradient_norm)

    def on_train_epoch_end(self) -> None:
        """Refuse to go through rows that teach nothing.

        Raises:
            InputError: no label was seen in the whole epoch.
        """
        if self._labels_seen == 0.0:
            raise InputError("the training data has no label: nothing was learned in an epoch; look at --data.train")
        self._labels_seen = 0.0

    def on_validation_epoch_end(self) -> None:
        """Log every value of the metric as ``val/name``."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log every value of the metric as ``test/name``."""
        self._log_epoch("test")

    def _log_epoch(self, stage: Stage) -> dict[str, Tensor]:
        """Log the numbers, and give them; what is a matrix is kept in ``tables``, for whoever shows it."""
        metric = self.metrics(stage)
        values: dict[str, Tensor] = metric.compute()
        self.log_dict({f"{stage}/{name}": value for name, value in values.items() if value.ndim == 0})
        self.tables[stage] = {name: value for name, value in values.items() if value.ndim > 0}
        metric.reset()
        return values


def in_parts(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """``function`` of the rows, ``ROWS_AT_ONCE`` at a time: windows of a long text are as many as it takes."""
    return torch.cat(
        [function(*part) for part in zip(*(torch.split(each, ROWS_AT_ONCE) for each in rows), strict=True)]
    )


def linear_head(n_embd: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A layer from hidden states to ``outputs`` numbers, at first all near 0."""
    head = nn.Linear(n_embd, outputs, bias=bias)
    nn.init.normal_(head.weight, std=INIT_STD)
    if bias:
        nn.init.zeros_(head.bias)
    return head
