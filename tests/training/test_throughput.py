"""Model FLOPs utilization."""

from pathlib import Path

import pytest
import torch

from gpt_lightning.tasks import tags
from gpt_lightning.training import Throughput, throughput
from gpt_lightning.training.peak_flops import measured_flops, seconds_per_product
from tests.runs import causal_lm, language_modeling, trainer
from tests.training.test_lm_eval_callback import Kept

CPU = torch.device("cpu")


def values_at_peak(folder: Path, monkeypatch: pytest.MonkeyPatch, peak: float) -> dict[str, dict[int, float]]:
    """Return the logged values of eight steps on a device with this peak in FLOP/s."""
    monkeypatch.setattr(throughput, "peak_flops", lambda *_: peak)
    kept = Kept()
    loop = trainer(folder, logger=kept, callbacks=[Throughput()], max_steps=8)
    loop.fit(causal_lm(), datamodule=language_modeling(folder))
    return kept.values


def test_mfu_is_the_part_of_the_peak_that_the_model_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peak, flops = 1e18, causal_lm().flops_per_token()
    values = values_at_peak(tmp_path, monkeypatch, peak)
    assert set(values[tags.MFU]) == set(range(1, 8)), "the first step is not measured"
    for step, mfu in values[tags.MFU].items():
        assert mfu == pytest.approx(values[tags.TOKENS_PER_SECOND][step] * flops / peak)
        assert 0.0 < mfu <= 1.0


def test_steps_faster_than_the_peak_log_no_mfu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measured peak is too low if the machine was busy at the time."""
    values = values_at_peak(tmp_path, monkeypatch, 1.0)
    assert len(values[tags.TOKENS_PER_SECOND]) == 7
    assert tags.MFU not in values


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
