"""Language modeling metrics on any batches and ranks, compared with sums in float64."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gpt_lightning.metrics import LanguageModelingMetrics
from gpt_lightning.metrics.language import unigram_cross_entropy

Batch = tuple[Tensor, Tensor, Tensor]


def ragged_batches(number: int, seed: int = 0) -> list[Batch]:
    """Return (mean loss, tokens, bytes per row) of batches with one to hundreds of tokens; the last has none."""
    generator = torch.Generator().manual_seed(seed)
    batches = [
        (
            torch.rand((), generator=generator) * 8,
            torch.randint(1, 900, (), generator=generator),
            torch.randint(1, 50, (int(torch.randint(1, 6, (), generator=generator)),), generator=generator),
        )
        for _ in range(number)
    ]
    return [*batches, (torch.tensor(0.0), torch.tensor(0), torch.zeros(2, dtype=torch.int64))]


def expected(batches: list[Batch]) -> dict[str, float]:
    nll = math.fsum(float(loss) * int(tokens) for loss, tokens, _ in batches)
    num_tokens = sum(int(tokens) for _, tokens, _ in batches)
    num_bytes = sum(int(num.sum()) for _, _, num in batches)
    return {
        "loss": nll / num_tokens,
        "perplexity": math.exp(nll / num_tokens),
        "bits_per_byte": nll / math.log(2) / num_bytes,
    }


def scalars(metric: LanguageModelingMetrics) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}


def build(batches: list[Batch]) -> LanguageModelingMetrics:
    metric = LanguageModelingMetrics()
    for batch in batches:
        metric.update(*batch)
    return metric


def test_all_tokens_have_equal_weight() -> None:
    batches = ragged_batches(40)
    metric = build(batches)
    assert scalars(metric) == pytest.approx(expected(batches), rel=1e-6)
    mean_of_batches = sum(float(loss) for loss, _, _ in batches) / len(batches)
    assert abs(mean_of_batches - expected(batches)["loss"]) > 0.01, "a mean over batches would pass the test too"
    metric.reset()
    metric.update(*batches[0])
    assert scalars(metric) == pytest.approx(expected(batches[:1]), rel=1e-6)


def test_uniform_predictions_over_256_tokens() -> None:
    metric = build([(torch.tensor(math.log(256.0)), torch.tensor(10), torch.tensor([4, 6]))])
    assert scalars(metric) == pytest.approx({"loss": math.log(256), "perplexity": 256.0, "bits_per_byte": 8.0})


def test_ranks_sum_to_the_result_of_one_process() -> None:
    batches = ragged_batches(30)
    ranks = [build(batches[:3]), build(batches[3:21]), build(batches[21:])]
    for rank in ranks[1:]:
        ranks[0].merge_state(rank)
    assert scalars(ranks[0]) == pytest.approx(expected(batches), rel=1e-6)
    for name in ("loss_sums", "loss_rounding", "num_bytes"):
        assert ranks[0]._reductions[name] is not None, name


def test_many_batches_keep_precision() -> None:
    loss, tokens, updates = torch.tensor(3.3), torch.tensor(1_001), 20_000
    metric, plain = LanguageModelingMetrics(), torch.zeros(())
    no_bytes = torch.ones(1, dtype=torch.int64)
    for _ in range(updates):
        metric.update(loss, tokens, no_bytes)
        plain += loss * tokens
    exact = float(loss)
    assert scalars(metric)["loss"] == pytest.approx(exact, rel=2e-7)
    assert abs(float(plain) / (1_001 * updates) - exact) > 1e-5 * exact, "a plain float32 sum would pass the test too"


def test_token_counts_are_exact_beyond_float32() -> None:
    metric = LanguageModelingMetrics()
    for tokens in (2**24, 1, 2**31, 1):
        metric.update(torch.tensor(1.0), torch.tensor(tokens), torch.tensor([tokens]))
    num_tokens = metric.loss_sums[1].double() + metric.loss_rounding[1].double()
    assert num_tokens == metric.num_bytes == 2**24 + 2**31 + 2


def test_loss_is_detached_from_its_graph() -> None:
    metric = LanguageModelingMetrics()
    metric.update(torch.tensor(1.0, requires_grad=True) * 2, torch.tensor(3), torch.tensor([3]))
    assert not metric.loss_sums.requires_grad
    assert not metric.loss_rounding.requires_grad


def test_unigram_cross_entropy_matches_its_formula() -> None:
    # With add-one smoothing, the counts 3, 1, 0 become 4, 2, 1.
    train, text = torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 2, 2])
    by_hand = -(math.log(4 / 7) + math.log(2 / 7) + 2 * math.log(1 / 7)) / 4
    assert unigram_cross_entropy(train, text, 3) == pytest.approx(by_hand, rel=1e-12)

    random = np.random.default_rng(0)
    tokens, others = random.integers(0, 50, 1000), random.integers(0, 50, 300)
    counts = np.array([(tokens == index).sum() + 1 for index in range(60)])
    slow = -sum(math.log(counts[index] / counts.sum()) for index in others) / 300
    assert unigram_cross_entropy(torch.from_numpy(tokens), torch.from_numpy(others), 60) == pytest.approx(
        slow, rel=1e-12
    )
