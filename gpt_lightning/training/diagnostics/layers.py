"""Callback that logs gradient norm, update ratio and largest attention logit of each layer."""

import re
from collections.abc import Mapping
from typing import Any, Final

import lightning.pytorch as L
import torch
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from gpt_lightning.tasks import Task
from gpt_lightning.tasks.tags import ATTENTION_LOGITS, GRADIENT_NORMS, UPDATE_RATIOS
from gpt_lightning.training.diagnostics.attention_logits import largest_attention_logits

EVERY_N_LOGS: Final = 5
"""Logged steps between two measurements. They then cost less than 2 % of the time of a step; see benchmarks."""

_MAX_COPIED: Final = 1 << 20
"""Number of weights of a parameter that are copied before a step, to bound memory."""

_BLOCK: Final = re.compile(r"(?:^|\.)(encoder\.)?blocks\.(\d+)\.")


class LayerDiagnostics(L.Callback):
    """Callback that logs diagnostics of each layer at every fifth logged step.

    ``weights_gradient_norm/LAYER`` is the norm of the mean gradient before clipping; the squares add up to that of
    ``weight_update/gradient_norm``. ``weights_update_ratio/LAYER`` is the norm of the change of the weights in this
    step, divided by the norm of the weights; about 0.001 is healthy. For a large matrix, both norms are those of a
    million evenly spaced weights. Frozen layers have neither. ``weights_attention_logit/LAYER`` is the largest
    attention logit for the first row of the last micro-batch after the step. Layers are ``embedding``, ``block_00`` and
    so on, and ``head``.

    Training is not changed, bit for bit. Weights that are sharded over devices are not measured.
    """

    def __init__(self) -> None:
        self._before: _Weights | None = None

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure the gradients and copy the weights before a step that is due."""
        every: int = trainer.log_every_n_steps * EVERY_N_LOGS  # type: ignore[attr-defined]
        is_due = bool(every) and (trainer.global_step + 1) % every == 0
        if is_due and trainer.is_global_zero and not is_sharded(trainer):
            self._before = _Weights.measure(pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the update and the attention logits after the step, and log all."""
        before, self._before = self._before, None
        if before is None or not isinstance(pl_module, Task):
            return
        values = before.diagnostics(pl_module.gradients.norm)
        with trainer.precision_plugin.forward_context():
            logits = largest_attention_logits(pl_module, batch)
        values |= {f"{ATTENTION_LOGITS}/layer_{number:02d}": logit for number, logit in enumerate(logits)}
        numbers = torch.stack([value.float() for value in values.values()]).tolist()  # one wait for the device
        finite = {tag: number for tag, number in zip(values, numbers, strict=True) if abs(number) < torch.inf}
        trainer._logger_connector.log_metrics(finite, trainer.global_step)


def is_sharded(trainer: L.Trainer) -> bool:
    """Return whether each device holds only a part of the weights."""
    return isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy)


class _Weights:
    """Trained weights before a step, with their norms and those of their gradients by layer."""

    def __init__(self, layers: Mapping[str, list[nn.Parameter]]) -> None:
        self.layers = layers
        self.copies = {name: [_sample(p).clone() for p in parameters] for name, parameters in layers.items()}
        self.norms = {name: _norm(copies) for name, copies in self.copies.items()}
        # Sums of gradients over micro-batches, with a factor that MeanGradients removes only after this hook.
        self.gradient_norms = {
            name: _norm([p.grad for p in each if p.grad is not None]) for name, each in layers.items()
        }

    @classmethod
    def measure(cls, module: nn.Module) -> "_Weights":
        """Measure the weights of a module that have a gradient."""
        layers: dict[str, list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                layers.setdefault(layer_name(name), []).append(parameter)
        return cls(layers)

    def diagnostics(self, gradient_norm: Tensor) -> dict[str, Tensor]:
        """Return tag -> value, () each, after the step.

        Args:
            gradient_norm: (), norm of the mean gradient of all weights.
        """
        total = torch.linalg.vector_norm(torch.stack(list(self.gradient_norms.values())))
        scale = gradient_norm.to(total.device) / total
        values = {f"{GRADIENT_NORMS}/{name}": norm * scale for name, norm in self.gradient_norms.items()}
        for name, parameters in self.layers.items():
            with torch.no_grad():
                torch._foreach_sub_(self.copies[name], [_sample(each) for each in parameters])
            values[f"{UPDATE_RATIOS}/{name}"] = _norm(self.copies[name]) / self.norms[name]
        return values


def layer_name(parameter: str) -> str:
    """Return the layer of a parameter by its name, such as ``block_03`` for ``backbone.blocks.3.mlp.up.weight``."""
    if found := _BLOCK.search(parameter):
        return f"{'encoder_' if found[1] else ''}block_{int(found[2]):02d}"
    if "embedding" in parameter and "norm" not in parameter:
        return "embedding"
    return "head" if parameter.startswith("head.") else "norm" if "norm" in parameter else parameter.split(".")[0]


def _sample(parameter: Tensor) -> Tensor:
    """Return evenly spaced weights of a parameter, all of a small one."""
    stride = -(-parameter.numel() // _MAX_COPIED)
    return parameter.detach().flatten()[::stride]


def _norm(tensors: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of all entries; shape (), float32."""
    norms: Tensor = torch.stack(torch._foreach_norm(tensors, 2, dtype=torch.float32))
    norm: Tensor = torch.linalg.vector_norm(norms)
    return norm
