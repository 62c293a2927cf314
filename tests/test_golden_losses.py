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

from gpt_lightning.training import Validations
from tests.runs import HEADS, causal_lm, head, language_modeling, trainer

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
    "classification": [
        1.788864, 1.787635, 1.804885, 1.76306, 1.98851, 1.725297, 1.892532, 1.701942, 1.991785, 1.890445,
        1.931917, 1.847562, 1.907852, 1.872539, 1.932355, 2.030998, 1.606162, 1.507092, 1.820066, 1.787237,
        1.738216,
    ],
    "ner": [
        2.043768, 1.920105, 1.666438, 1.47429, 1.358651, 1.262296, 1.192096, 1.058941, 0.802402, 0.468714,
        0.252403, 0.527009, 0.987751, 0.659813, 0.841096, 0.79037, 0.477238, 0.639103, 0.766174, 1.064625,
        0.730138,
    ],
    "qa": [
        4.386458, 4.149627, 4.137833, 3.839663, 3.922488, 3.29458, 3.014055, 2.649799, 2.799565, 1.834585,
        1.327157, 0.920714, 0.63022, 1.647203, 1.64965, 1.701372, 0.952145, 4.308375, 4.216326, 1.282761,
        1.592997,
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


def run_head(folder: Path, name: str) -> list[float]:
    """As ``run``, of a head on the toy world's rows."""
    losses = Losses()
    task, data = head(
        folder, name, dropout=0.0, **{key: value for key, value in SHAPES["llama"].items() if key != "block_size"}
    )
    fit = trainer(folder, callbacks=[losses, Validations()], max_steps=20, max_epochs=-1)
    fit.fit(task, datamodule=data)
    return [*losses.values, float(fit.callback_metrics["val/loss"])]


@pytest.mark.parametrize("name", HEADS)
def test_losses_of_heads_are_as_they_were(tmp_path: Path, name: str) -> None:
    losses = run_head(tmp_path, name)
    assert len(losses) == 21
    assert losses == pytest.approx(GOLDEN[name], rel=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_losses_are_as_they_were(tmp_path: Path, name: str) -> None:
    losses = run(tmp_path, SHAPES[name])
    assert len(losses) == 21
    assert losses == pytest.approx(GOLDEN[name], rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in [*SHAPES, *HEADS]:
        with tempfile.TemporaryDirectory() as folder:
            values = run(Path(folder), SHAPES[name]) if name in SHAPES else run_head(Path(folder), name)
            losses = [str(round(loss, 6)) for loss in values]
            rows = [", ".join(losses[start : start + 10]) for start in range(0, len(losses), 10)]
            print(f'    "{name}": [', *(f"        {row}," for row in rows), "    ],", sep="\n")
