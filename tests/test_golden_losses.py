"""What 20 steps reach, stored: a change that is no change in computation must leave these numbers alone.

If a change in computation is meant, run this file as a script (``python -m tests.test_golden_losses``), paste what it
prints, and say why in the commit.
"""

import tempfile
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from tests.runs import causal_lm, language_modeling, trainer

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 16},
    "llama": {
        "n_layer": 2,
        "n_head": 4,
        "n_kv_head": 2,
        "n_embd": 32,
        "block_size": 16,
        "position": "rotary",
        "norm": "rmsnorm",
        "mlp": "swiglu",
        "bias": False,
    },
}

GOLDEN: dict[str, list[float]] = {
    "gpt2": [
        5.515359, 5.323439, 5.046721, 4.678904, 4.253323, 3.815682, 3.402786, 3.311658, 3.010642, 2.818616,
        2.685909, 2.731725, 2.682549, 2.491238, 2.403886, 2.391576, 2.392619, 2.703942, 2.387444, 2.242674,
        2.357029,
    ],
    "llama": [
        5.539148, 5.351659, 4.975528, 4.597093, 4.13538, 3.768564, 3.370855, 3.242953, 3.022037, 2.852246,
        2.717781, 2.658983, 2.69603, 2.582896, 2.495367, 2.375666, 2.430388, 2.729446, 2.306641, 2.451619,
        2.5485,
    ],
}  # fmt: skip


class Losses(L.Callback):
    """Keeps ``train/loss`` of each step, which is logged after the callbacks' hooks."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step:
            self.values.append(float(trainer.callback_metrics["train/loss"]))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss"]))


def run(folder: Path, shape: dict[str, Any]) -> list[float]:
    """The loss of each step, and that of the validation at the end."""
    losses = Losses()
    fit = trainer(folder, callbacks=[losses], max_steps=20, max_epochs=-1)
    fit.fit(causal_lm(dropout=0.0, **shape), datamodule=language_modeling(folder, block_size=16, batch_size=3))
    return [*losses.values, float(fit.callback_metrics["val/loss"])]


@pytest.mark.parametrize("name", SHAPES)
def test_losses_are_as_they_were(tmp_path: Path, name: str) -> None:
    losses = run(tmp_path, SHAPES[name])
    assert len(losses) == 21
    assert losses == pytest.approx(GOLDEN[name], rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            losses = [str(round(loss, 6)) for loss in run(Path(folder), shape)]
            rows = [", ".join(losses[start : start + 10]) for start in range(0, len(losses), 10)]
            print(f'    "{name}": [', *(f"        {row}," for row in rows), "    ],", sep="\n")
