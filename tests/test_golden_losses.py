"""Stored losses of 20 steps, which only an intended change of the computation may alter.

After an intended change, run ``python -m tests.test_golden_losses``, paste its output below, and give the reason in the
commit message.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from gpt_lightning.data import InstructionTuning
from gpt_lightning.data.base import DataModule
from gpt_lightning.tasks import Task
from gpt_lightning.training import Validations
from tests.pairs import reversed_lines, seq2seq
from tests.runs import HEADS, causal_lm, head, language_modeling, toy_rows, trainer

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
        5.515358, 5.470127, 5.352917, 5.220937, 5.108596, 5.041064, 4.927855, 4.863017, 4.749246, 4.663434,
        4.53897, 4.486187, 4.371756, 4.266954, 4.162229, 4.062068, 4.017685, 3.916365, 3.82992, 3.734389,
        3.639617,
    ],
    "llama": [
        5.539149, 5.496679, 5.394152, 5.266306, 5.139948, 5.044384, 4.928467, 4.875333, 4.789999, 4.691861,
        4.600948, 4.489393, 4.445493, 4.311527, 4.180123, 4.101591, 4.033783, 3.980007, 3.870459, 3.799799,
        3.699173,
    ],
    "classification": [
        1.788864, 1.796463, 1.803203, 1.767511, 1.820884, 1.777127, 1.799048, 1.830241, 1.717234, 1.736029,
        1.76221, 1.665055, 1.770963, 1.871485, 1.781621, 1.775815, 1.724677, 1.727894, 1.625871, 1.87343,
        1.695415,
    ],
    "ner": [
        1.981533, 1.908027, 1.916784, 1.888836, 1.807924, 1.710032, 1.642114, 1.552476, 1.400268, 1.241802,
        1.122882, 1.151224, 1.217246, 1.068193, 1.064945, 1.030827, 0.856996, 0.88358, 0.945794, 1.076435,
        0.829935,
    ],
    "liking": [
        1.066668, 0.973619, 0.828411, 0.869526, 1.270295, 0.815934, 1.440721, 0.749824, 1.049779, 1.212555,
        0.971087, 0.807437, 0.856484, 0.84273, 1.424225, 0.731438, 0.951432, 0.829303, 1.018899, 0.819534,
        0.958779,
    ],
    "qa": [
        4.386458, 4.210478, 4.308015, 4.247717, 4.242231, 4.079216, 3.976262, 3.819276, 3.845534, 3.569301,
        3.335841, 3.206289, 3.162956, 3.353713, 3.342876, 3.252155, 3.151731, 3.061871, 2.545409, 2.409416,
        2.61533,
    ],
    "instructions": [
        5.558948, 5.567283, 5.499731, 5.381531, 5.24649, 5.14639, 5.053263, 4.981851, 4.885172, 4.804711,
        4.743279, 4.643634, 4.576237, 4.489192, 4.391458, 4.336161, 4.27948, 4.201218, 4.107844, 4.053927,
        3.985561,
    ],
    "seq2seq": [
        5.55757, 5.516971, 5.506856, 5.461982, 5.438928, 5.376517, 5.351769, 5.312152, 5.232214, 5.19581,
        5.16843, 5.104476, 5.044518, 5.026043, 4.976091, 4.907098, 4.879461, 4.788836, 4.735646, 4.726119,
        4.562637,
    ],
}  # fmt: skip


class Losses(L.Callback):
    """Record of ``train/loss`` at each step; Lightning logs it after the callbacks' hooks."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step:
            self.values.append(float(trainer.callback_metrics["train/loss"]))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss"]))


def fit(folder: Path, task: Task, data: DataModule) -> list[float]:
    """Return the training loss of each step and the final validation loss.

    The learning rate keeps rounding differences between CPUs small: at 1e-2 the loss of ``qa`` is so unstable that
    differences of 1e-7 grow to 1e-2 within 20 steps.
    """
    task.optimizer_config = replace(task.optimizer_config, lr=2e-3)
    losses = Losses()
    loop = trainer(folder, callbacks=[losses, Validations()], max_steps=20, max_epochs=-1)
    loop.fit(task, datamodule=data)
    return [*losses.values, float(loop.callback_metrics["val/loss"])]


def run(folder: Path, shape: dict[str, Any]) -> list[float]:
    """Return the losses of pretraining."""
    return fit(folder, causal_lm(dropout=0.0, **shape), language_modeling(folder, block_size=16, batch_size=3))


def run_head(folder: Path, name: str) -> list[float]:
    """Return the losses of a head on rows of the toy world."""
    shape = {key: value for key, value in SHAPES["llama"].items() if key != "block_size"}
    return fit(folder, *head(folder, name, dropout=0.0, **shape))


def run_instructions(folder: Path) -> list[float]:
    """Return the losses of instruction tuning on packed questions of the toy world, with two added tokens."""
    source = folder / "rows.jsonl"
    rows = [json.loads(line) for line in toy_rows(folder, "qa", 30).read_text().splitlines()]
    pairs = [{"instruction": row["question"], "output": row["context"][:60]} for row in rows]
    source.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    data = InstructionTuning(
        train=str(source),
        validation=str(source),
        tokenizer="bytes",
        block_size=256,
        batch_size=2,
        packing=True,
        generate_examples=0,
        cache_dir=str(folder / "cache"),
        seed=0,
    )
    shape = {**SHAPES["llama"], "block_size": 256}
    return fit(folder, causal_lm(data.vocab_size, dropout=0.0, **shape), data)


def run_seq2seq(folder: Path) -> list[float]:
    """Return the losses of the encoder-decoder of Vaswani et al. 2017, with label smoothing."""
    shape = {"position": "sinusoidal", "norm_placement": "after_residual", "mlp": "relu", "scale_embeddings": True}
    task = seq2seq(shape={"dropout": 0.0, "n_layer": 2, **shape}, label_smoothing=0.1)
    return fit(folder, task, reversed_lines(folder))


def test_losses_of_an_encoder_decoder_are_unchanged(tmp_path: Path) -> None:
    losses = run_seq2seq(tmp_path)
    assert len(losses) == 21
    assert losses == pytest.approx(GOLDEN["seq2seq"], rel=1e-4)


@pytest.mark.parametrize("name", HEADS)
def test_losses_of_heads_are_unchanged(tmp_path: Path, name: str) -> None:
    losses = run_head(tmp_path, name)
    assert len(losses) == 21
    assert losses == pytest.approx(GOLDEN[name], rel=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_losses_of_pretraining_are_unchanged(tmp_path: Path, name: str) -> None:
    losses = run(tmp_path, SHAPES[name])
    assert len(losses) == 21
    assert losses == pytest.approx(GOLDEN[name], rel=1e-4)


def test_losses_of_instruction_tuning_are_unchanged(tmp_path: Path) -> None:
    losses = run_instructions(tmp_path)
    assert len(losses) == 21
    assert losses == pytest.approx(GOLDEN["instructions"], rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    runs: dict[str, Callable[[Path], list[float]]] = {
        **{name: partial(run, shape=shape) for name, shape in SHAPES.items()},
        **{name: partial(run_head, name=name) for name in HEADS},
        "instructions": run_instructions,
        "seq2seq": run_seq2seq,
    }
    for name, losses_of in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            values = losses_of(Path(folder))
            losses = [str(round(loss, 6)) for loss in values]
            rows = [", ".join(losses[start : start + 10]) for start in range(0, len(losses), 10)]
            print(f'    "{name}": [', *(f"        {row}," for row in rows), "    ],", sep="\n")
