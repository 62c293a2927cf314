"""Base class of all tasks: backbone, head, token-weighted optimizer steps, logging."""

import inspect
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from types import FrameType
from typing import Any, ClassVar, Literal, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torchmetrics import Metric

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.checkpoints.read import load_backbone
from gpt_lightning.checkpoints.structure import check_kinds
from gpt_lightning.errors import InputError
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.gpt import INIT_STD
from gpt_lightning.models.huggingface import HuggingFaceHead
from gpt_lightning.models.lora import LoRA, add_adapters, weights_sha256
from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule
from gpt_lightning.printable import printable
from gpt_lightning.tasks.accumulation import num_steps, resume_accumulation
from gpt_lightning.tasks.answer_data import AnswerData, AnsweredExample, find_answer_data
from gpt_lightning.tasks.continued_head import continue_head
from gpt_lightning.tasks.error_examples import HardestExamples
from gpt_lightning.tasks.mean_gradients import MeanGradients
from gpt_lightning.tasks.saving import (
    WEIGHTS,
    constructor_arguments,
    describe_data,
    fill_in_frozen,
    leave_out_frozen,
    plain_hparams,
)
from gpt_lightning.tasks.settings import check_adapters, check_callbacks, check_strategy, why_not_resumed
from gpt_lightning.tasks.tags import GRADIENT_NORM, LEARNING_RATE, rename_callback_states
from gpt_lightning.tasks.training_state import check_training_state
from gpt_lightning.tokenizers.layout import InputLayout

Stage = Literal["train", "val", "test"]

EVAL_CHUNK_ROWS = 64
"""Rows per forward pass during evaluation, where one long text may be cut into any number of windows."""


class Task(L.LightningModule, ABC):
    """Backbone, head, loss and metrics of one task.

    A subclass implements ``step``, which turns a batch into a loss. Its constructor declares its own arguments, passes
    the others to ``super().__init__``, and sets ``head`` and the three metrics::

        def __init__(self, labels: list[str] | None = None, **settings: Unpack[TaskSettings]) -> None:
            super().__init__(**settings)
            self.head = linear_head(self.backbone.config.n_embd, len(labels))

    Every checkpoint saves the constructor arguments, which are read from the call of ``super().__init__``. Do not
    reassign an argument before that call. The loss is averaged over all labels of an optimizer step, across
    micro-batches and ranks (``mean_gradients.py``).

    Args:
        backbone: architecture of the transformer.
        vocab_size: number of token ids. On the command line, it comes from the data module's tokenizer.
        optimizer: optimizer and its settings.
        schedule: learning rate over the course of training.
        init_from: checkpoint, run folder, model folder or ``hub:OWNER/NAME`` whose backbone weights training starts
            from. If it has the same task, its head continues too, each label with its own weights. The default, null,
            starts from random weights.
        fine_tuning: layers of the backbone that are frozen or learn more slowly. By default all layers train alike.
        lora: LoRA adapters, which are trained instead of the backbone. Off by default (``r: 0``); they need
            ``init_from``.
        layout: tokens around the texts of the input. On the command line, it comes from the data module.
    """

    batch: ClassVar[type]
    """TypedDict of ``batch.py`` that the task reads."""
    backbone_class: ClassVar[type[GPT]] = GPT
    """Class of the backbone: ``GPT``, or ``EncoderDecoder`` for tasks with an encoder and a decoder."""
    attentions: ClassVar[tuple[str, ...]] = ("causal", "bidirectional")
    """Kinds of attention of the backbone that the task supports."""
    huggingface_head: ClassVar[HuggingFaceHead | None] = None
    """Hugging Face head that this class corresponds to, or None. Subclasses do not inherit it."""

    takes_from_data: ClassVar[Mapping[str, str]] = {"vocab_size": "vocab_size", "layout": "layout"}
    """Constructor arguments that follow the data module: argument -> attribute of the data module."""

    fitted_arguments: ClassVar[tuple[str, ...]] = ()
    """Constructor arguments that ``fit`` computes. A checkpoint has their values; a ``config.yaml`` does not."""

    causal_defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of arguments for a head on a pretrained backbone with causal attention, where they differ."""

    may_add_tokens: ClassVar[bool] = False
    """True if a tokenizer with more tokens than the pretrained model adds rows to its embedding."""

    former_names: ClassVar[Mapping[str, str]] = {}
    """Names of metrics before version 0.2 -> names now. A metric that a subclass computes keeps its name."""

    first_step: int | None = None
    """Optimizer step at which training started or resumed; None before training."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Reset the attribute that holds for one class only, unless the subclass declares it."""
        super().__init_subclass__(**kwargs)
        cls.huggingface_head = vars(cls).get("huggingface_head")

    def __init__(
        self,
        backbone: GPTConfig = GPTConfig(),
        vocab_size: int | None = None,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: Schedule = Schedule(),
        init_from: str | None = None,
        fine_tuning: FineTuning = FineTuning(),
        lora: LoRA = LoRA(),
        layout: InputLayout = InputLayout(),
    ) -> None:
        super().__init__()
        if lora.r:
            check_adapters(init_from, fine_tuning)
        if backbone.vocab_size is None:
            backbone = replace(backbone, vocab_size=vocab_size)
        elif vocab_size is not None and vocab_size > backbone.vocab_size:
            if init_from is not None and self.may_add_tokens:
                backbone = replace(backbone, vocab_size=vocab_size)
            else:
                raise InputError(
                    f"the tokenizer has {vocab_size} ids but model.backbone.vocab_size={backbone.vocab_size}. "
                    "Raise vocab_size, or leave it out to use the tokenizer's size"
                )
        if backbone.attention not in self.attentions:
            raise InputError(
                f"model.backbone.attention={backbone.attention}: {type(self).__name__} needs "
                f"{' or '.join(self.attentions)} attention. Set model.backbone.attention={self.attentions[0]}"
            )
        self.backbone = self.backbone_class(backbone)
        if init_from is not None:
            load_backbone(self.backbone, init_from, may_add_tokens=self.may_add_tokens)
        fine_tuning.freeze_parameters(self.backbone, backbone.depth)
        self.init_from = init_from
        self.frozen_sha256: dict[str, str] = {}
        """Submodule name -> SHA-256 of its frozen weights, which checkpoints leave out and ``init_from`` provides."""
        if lora.r:
            self.frozen_sha256["backbone"] = weights_sha256(self.backbone)
            add_adapters(self.backbone, lora)
        self.optimizer_config = optimizer
        self.schedule = schedule
        self.fine_tuning = fine_tuning
        self.layout = layout
        arguments = constructor_arguments(self, cast(FrameType, inspect.currentframe()))
        hparams = plain_hparams(type(self), arguments, backbone, has_frozen=bool(self.frozen_sha256))
        super().save_hyperparameters(hparams, logger=False)
        self.gradients = MeanGradients()
        self.classes: list[str] = []
        """Row names of the per-class tables."""
        self.hardest_examples = HardestExamples()
        self.tables: dict[Stage, dict[str, Tensor]] = {}
        """Non-scalar results of the last epoch, such as a confusion matrix."""
        self.answer_data: AnswerData | None = None
        """Tokenizer and limits of generated answers: the Trainer's data module, if it has them."""
        self.answer_examples: list[AnsweredExample] = []
        """First generated answers of the last evaluation on this rank; empty for tasks that generate no text."""
        self.keeps_test_rows = True
        """False if a test needs no statistics of its rows."""
        self.test_rows = RowStatistics(())
        """Statistics of each row of the last test on this rank. A subclass may leave them empty."""

    head: nn.Module
    train_metrics: Metric
    val_metrics: Metric
    test_metrics: Metric

    @abstractmethod
    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the mean loss of ``batch`` over its labels, and update the metrics of ``stage``."""

    def metrics(self, stage: Stage) -> Metric:
        """Return the metric of ``stage``, whose ``compute()`` returns values by name."""
        metric: Metric = getattr(self, f"{stage}_metrics")
        return metric

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the number of labels behind the mean loss of ``batch``, or the sum of their weights; shape ()."""
        labels: Tensor = batch["labels"]
        return (labels != IGNORE_INDEX).sum()

    def flops_per_token(self) -> int:
        """Return the floating-point operations per token of a training step (forward and backward)."""
        head = sum((6 if p.requires_grad else 4) * p.numel() for p in self.head.parameters())
        return self.backbone.flops_per_token() + head

    # --- checkpoints

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, as the base constructor has saved the arguments of all constructors as plain values."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out frozen weights; add the tokenizer and the state of gradient accumulation."""
        leave_out_frozen(checkpoint, self, self.frozen_sha256)
        trainer = self._trainer
        datamodule = None if trainer is None else trainer.datamodule  # type: ignore[attr-defined]
        checkpoint |= describe_data(datamodule)
        if isinstance(layout := getattr(datamodule, "layout", None), InputLayout):
            hparams = checkpoint.get("hyper_parameters", {})
            checkpoint["hyper_parameters"] = {**hparams, "layout": asdict(layout)}
        checkpoint |= self.gradients.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state after the last optimizer step, and the frozen weights.

        Gradients of accumulated micro-batches are not saved, so training repeats those micro-batches.

        Raises:
            InputError: the optimizer or its parameter groups differ from the saved ones, the adapters were trained on
                other weights, or the saved state does not fit.
        """
        fill_in_frozen(checkpoint, self, self.frozen_sha256, self.init_from)
        trainer = self._trainer
        name = "the checkpoint" if trainer is None else str(trainer.ckpt_path)
        for field in WEIGHTS & checkpoint.keys():
            check_kinds(checkpoint[field], self, name)
        rename_callback_states(checkpoint.get("callbacks", {}), self.former_names, self.metrics("val"))
        if trainer is None or trainer.state.fn != "fit":
            checkpoint.pop("loops", None)  # evaluation starts at its first batch
            return
        reason = why_not_resumed(checkpoint["hyper_parameters"], self.optimizer_config, self.fine_tuning)
        if reason is not None:
            raise InputError(reason)
        check_training_state(checkpoint, trainer, self.configure_optimizers())
        self.gradients.load_checkpoint(checkpoint)

    # --- one step

    @property
    def is_accumulating(self) -> bool:
        """True between the first micro-batch of an optimizer step and the step itself."""
        return len(self.gradients) > 0

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return the mean loss over the labels of a micro-batch, which callbacks receive as ``outputs["loss"]``."""
        loss = self.step(batch, "train")
        self.gradients.add(loss, self.weight(batch), batch.get("ids", []))
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients of the sum of losses, from their mean that ``training_step`` has returned."""
        super().backward(loss * self.gradients.scale, *args, **kwargs)

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Update the metrics of ``val``."""
        self.step(batch, "val")

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Update the metrics of ``test``."""
        self.step(batch, "test")

    # --- the optimizer

    def setup(self, stage: str) -> None:
        """Refuse unsupported callbacks and strategies; in a new run, continue the head of a run with the same task.

        Raises:
            InputError: a callback would train wrongly, the strategy bypasses gradient averaging, or it shards matrices
                that Muon or the generation of answers needs unsharded.
        """
        check_callbacks(self.trainer.callbacks)  # type: ignore[attr-defined]
        self.answer_data = find_answer_data(self.trainer, stage) or self.answer_data
        if stage == "fit":
            check_strategy(self.trainer.strategy, self.optimizer_config)
            if self.init_from is not None and self.trainer.ckpt_path is None:
                self.continue_head(self.init_from)

    def continue_head(self, source: str) -> Mapping[str, Any]:
        """Load the head of ``source`` if it was trained for this task, and print a line about it.

        Returns:
            The hyper-parameters of ``source``; empty if its head is not used.
        """
        message, hparams = continue_head(self.head, self.hparams, source, type(self).huggingface_head)
        if message and self.trainer.is_global_zero:
            print(printable(message), flush=True)
        return hparams

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer; ``_set_learning_rate`` sets the learning rate of each step."""
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise InputError("model.fine_tuning.freeze leaves no trainable parameter. Lower it")
        lr, depth = self.optimizer_config.lr, self.backbone.config.depth
        return self.optimizer_config.build(
            self, lambda name: self.fine_tuning.layer(name, depth, lr), self.backbone.matrices()
        )

    def on_train_start(self) -> None:
        """Apply the current optimizer settings, which take precedence over those in the checkpoint."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        for group, fresh in zip(optimizer.param_groups, self.configure_optimizers().param_groups, strict=True):
            group.update({key: value for key, value in fresh.items() if key != "params"})
        self.first_step = self.trainer.global_step
        resume_accumulation(self.trainer)
        run_steps = num_steps(self.trainer)
        if run_steps == math.inf and self.schedule.needs_end:
            raise InputError(
                f"model.schedule.kind={self.schedule.kind} decays until the end of the run, but the run has no end. "
                "Set model.schedule.total_steps, trainer.max_steps or trainer.max_epochs"
            )
        self._run_steps = int(min(run_steps, sys.maxsize))
        self._set_learning_rate(self.trainer.global_step)

    def on_train_batch_start(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Correct counters."""
        if batch_idx == 0:  # on_train_epoch_end is not called if a run resumes at the end of an epoch
            self.gradients.labels_seen = 0.0
        # Lightning logs at this step. It counts one too many if the run was resumed between two micro-batches.
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.trainer.global_step

    def _set_learning_rate(self, step: int) -> None:
        """Set the learning rate of an optimizer step, before the callbacks' hooks of its first micro-batch read it."""
        ratio = self.schedule.ratio(step, self._run_steps)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.optimizer_config.lr * group["lr_ratio"] * ratio

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Run the optimizer step, free the gradients, and set the learning rate of the next step.

        Lightning would keep the gradients through the next forward pass.
        """
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()
        self._set_learning_rate(self.trainer.global_step + 1)  # Lightning counts this step after the hook

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Divide the summed gradients by the number of labels of all micro-batches and ranks, then clip them.

        Raises:
            RunError: the loss or the gradients are not finite.
        """
        max_skipped_steps = self.optimizer_config.max_skipped_steps
        self.gradients.finish_step(
            self.trainer, optimizer, gradient_clip_val, gradient_clip_algorithm, max_skipped_steps
        )

    # --- logging

    def on_train_batch_end(self, outputs: Any, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Log the loss every ``log_every_n_steps`` optimizer steps, as the mean over all labels since the last log."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.is_accumulating or not every or self.trainer.global_step % every:
            return
        metric = self.metrics("train")
        self.log("train/loss", metric.compute()["loss"], prog_bar=True)
        metric.reset()
        ratio = self.schedule.ratio(self.trainer.global_step - 1, self._run_steps)
        self.log(LEARNING_RATE, self.optimizer_config.lr * ratio)
        self.log(GRADIENT_NORM, self.gradients.norm)

    def on_train_epoch_end(self) -> None:
        """Refuse training data without labels.

        Raises:
            InputError: the epoch had no label.
        """
        if self.gradients.labels_seen == 0.0:
            raise InputError("the training data has no labels, so there is nothing to learn. Check --data.train")

    def on_validation_epoch_start(self) -> None:
        """Delete the answers of the previous evaluation."""
        self.answer_examples.clear()

    def on_test_epoch_start(self) -> None:
        """Delete the answers and the rows of the previous evaluation."""
        self.answer_examples.clear()
        self.test_rows.reset()

    def on_validation_epoch_end(self) -> None:
        """Log every scalar of the metric as ``val/NAME``."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log every scalar of the metric as ``test/NAME``."""
        self._log_epoch("test")

    def _log_epoch(self, stage: Stage) -> dict[str, Tensor]:
        """Log the metric's scalars, keep its other values in ``tables`` for callbacks, and return all values."""
        metric = self.metrics(stage)
        values: dict[str, Tensor] = metric.compute()
        self.log_dict({f"{stage}/{name}": value for name, value in values.items() if value.ndim == 0})
        self.tables[stage] = {name: value for name, value in values.items() if value.ndim > 0}
        metric.reset()
        return values


def apply_in_chunks(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Apply ``function`` to chunks of ``EVAL_CHUNK_ROWS`` rows and concatenate the results, to bound memory."""
    return torch.cat(
        [function(*chunk) for chunk in zip(*(torch.split(each, EVAL_CHUNK_ROWS) for each in rows), strict=True)]
    )


def linear_head(n_embd: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer from hidden states to ``outputs`` logits, initialized near 0."""
    head = nn.Linear(n_embd, outputs, bias=bias)
    nn.init.normal_(head.weight, std=INIT_STD)
    if bias:
        nn.init.zeros_(head.bias)
    return head
