"""Model FLOPs utilization."""

import time
from pathlib import Path

import pytest
import torch

from gpt_lightning.tasks import tags
from gpt_lightning.training import Throughput, throughput
from gpt_lightning.training.peak_flops import measured_flops, seconds_per_product
from tests.runs import causal_lm, language_modeling, trainer
from tests.training.test_lm_eval_callback import Kept

CPU = torch.device("cpu")


@pytest.mark.parametrize("peak", [1.0, 1e6, 1e9, 1e12, 1e18])
def test_mfu_is_at_most_one_at_any_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peak: float) -> None:
    """A measured peak is too low if the machine was busy at the time."""
    monkeypatch.setattr(throughput, "peak_flops", lambda *_: peak)
    kept = Kept()
    loop = trainer(tmp_path, logger=kept, callbacks=[Throughput()], max_steps=8)
    loop.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    values = list(kept.values[tags.MFU].values())
    assert len(values) == 8
    assert all(0.0 < value <= 1.0 for value in values)
    assert (max(values) == 1.0) == (peak < 1e9)


def test_the_measured_peak_has_the_right_order_of_magnitude() -> None:
    a = torch.randn(512, 512)
    a @ a
    start = time.perf_counter()
    for _ in range(20):
        a @ a
    rate = 20 * 2 * 512**3 / (time.perf_counter() - start)
    assert rate / 10 < measured_flops(CPU, torch.float32) < rate * 10


def test_the_peak_is_the_best_of_several_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {256: 1e-3, 512: 2e-3, 1024: 4e-2}
    monkeypatch.setattr("gpt_lightning.training.peak_flops.seconds_per_product", lambda size, *_: seconds[size])
    assert measured_flops.__wrapped__(CPU, torch.float32) == 2 * 512**3 / 2e-3


def test_slow_dtypes_are_measured_with_small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def slow(size: int, *_: object) -> float:
        sizes.append(size)
        return 0.03

    monkeypatch.setattr("gpt_lightning.training.peak_flops.seconds_per_product", slow)
    measured_flops.__wrapped__(CPU, torch.bfloat16)
    assert sizes == [256]


def test_a_product_takes_time() -> None:
    assert 0.0 < seconds_per_product(64, CPU, torch.float32) < 1.0
