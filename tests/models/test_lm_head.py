"""The loss without all logits in memory, against the same with them in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.commands.run.device import find_device
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig, lm_head
from gpt_lightning.models.lm_head import LMHead, linear_cross_entropy
from tests.tensors import Watch, distance

# B batch, T tokens, C channels, V vocabulary
B, T, C, V = 3, 7, 8, 37
CAPS = pytest.mark.parametrize("cap", [None, 2.0], ids=["plain", "capped"])


class Chunks(NamedTuple):
    """How many tokens a chunk has, and whether ignored ones are among them."""

    rows: int
    selects: bool


@pytest.fixture(
    autouse=True,
    params=[Chunks(4, True), Chunks(1000, True), Chunks(4, False)],
    ids=["chunks", "one_chunk", "with_ignored_ones"],
)
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Chunks:
    """Few tokens a chunk, of which the last has fewer, or all of them in one; on a processor and as on a GPU."""
    found: Chunks = request.param
    monkeypatch.setattr(lm_head, "_rows_at_once", lambda _: found.rows)
    monkeypatch.setattr(lm_head, "_selects", lambda _: found.selects)
    return found


class Case(NamedTuple):
    """Float64 leaves whose values float32 has too, and labels of which some are ignored."""

    hidden: Tensor
    weight: Tensor
    labels: Tensor


def case(labeled: float = 0.6) -> Case:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(size, generator=generator).double().requires_grad_() for size in ((B, T, C), (V, C)))
    labels = torch.randint(V, (B, T), generator=generator)
    ignored = torch.rand((B, T), generator=generator) >= labeled
    return Case(hidden, weight, labels.masked_fill(ignored, IGNORE_INDEX))


def dense(hidden: Tensor, weight: Tensor, labels: Tensor, cap: float | None, reduction: str = "sum") -> Tensor:
    """With all logits in memory."""
    logits = hidden @ weight.mT
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE_INDEX, reduction=reduction)


def gradients(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
    """Of a multiple of the loss, as a trainer scales it."""
    return list(torch.autograd.grad(3.0 * loss, leaves))


@CAPS
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("labeled", [1.0, 0.6, 0.15])
def test_it_is_the_dense_loss(cap: float | None, dtype: torch.dtype, tolerance: float, labeled: float) -> None:
    exact = case(labeled)
    assert (exact.labels != IGNORE_INDEX).any()
    expected = dense(*exact, cap)
    hidden, weight = (leaf.detach().to(dtype).requires_grad_() for leaf in (exact.hidden, exact.weight))
    actual = linear_cross_entropy(hidden, weight, exact.labels, cap)
    assert actual.dtype == dtype
    assert distance(actual, expected) < tolerance
    found = gradients(actual, hidden, weight)
    for mine, theirs in zip(found, gradients(expected, exact.hidden, exact.weight), strict=True):
        assert mine.dtype == dtype
        assert distance(mine, theirs) < tolerance


@CAPS
def test_losses_of_single_tokens(cap: float | None, chunks: Chunks) -> None:
    hidden, weight, labels = case()
    expected = dense(hidden, weight, labels, cap, "none").view(B, T)
    actual = linear_cross_entropy(hidden, weight, labels, cap, reduction="none")
    torch.testing.assert_close(actual, expected.detach(), rtol=1e-13, atol=0)
    assert not actual.requires_grad
    with torch.no_grad(), Watch() as watch:
        assert linear_cross_entropy(hidden, weight, labels, cap).item() == pytest.approx(expected.sum().item(), 1e-13)
    tokens = int((labels != IGNORE_INDEX).sum()) if chunks.selects else B * T
    assert watch.products == 2 * tokens * C * V, "gradients that nobody asked for"


def test_without_any_label_it_is_nothing() -> None:
    hidden, weight, labels = case()
    loss = linear_cross_entropy(hidden, weight, torch.full_like(labels, IGNORE_INDEX))
    assert loss.item() == 0.0
    assert [int(gradient.count_nonzero()) for gradient in gradients(loss, hidden, weight)] == [0, 0]
    assert linear_cross_entropy(hidden, weight, torch.full_like(labels, IGNORE_INDEX), reduction="none").sum() == 0.0


def test_tokens_without_a_label_do_not_pass_through_the_layer(chunks: Chunks) -> None:
    hidden, weight, labels = case()
    expected = gradients(linear_cross_entropy(hidden, weight, labels), hidden, weight)
    ignored = (labels == IGNORE_INDEX).unsqueeze(-1)
    broken = hidden.detach().masked_fill(ignored, torch.nan).requires_grad_()
    with Watch() as watch:
        actual = gradients(linear_cross_entropy(broken, weight, labels), broken, weight)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    assert watch.products == 3 * 2 * (int((~ignored).sum()) if chunks.selects else B * T) * C * V


@pytest.mark.parametrize("frozen", ["hidden", "weight", "both"])
def test_what_is_frozen_gets_no_gradient_and_costs_no_product(frozen: str) -> None:
    hidden, weight, labels = case(1.0)
    expected = dict(
        zip(("hidden", "weight"), gradients(dense(hidden, weight, labels, None), hidden, weight), strict=True)
    )
    leaves = {"hidden": hidden, "weight": weight}
    for name, leaf in leaves.items():
        leaf.requires_grad_(frozen not in (name, "both"))
    learning = [name for name, leaf in leaves.items() if leaf.requires_grad]
    with Watch() as watch:
        loss = linear_cross_entropy(hidden, weight, labels)
        found = gradients(loss, *(leaves[name] for name in learning)) if learning else []
    for name, gradient in zip(learning, found, strict=True):
        torch.testing.assert_close(gradient, expected[name])
    assert watch.products == (1 + len(learning)) * 2 * B * T * C * V


def test_a_weight_that_embeds_too_gets_both_gradients() -> None:
    _, weight, labels = case()
    ids = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    (expected,) = gradients(dense(F.embedding(ids, weight).tanh(), weight, labels, None), weight)
    (actual,) = gradients(linear_cross_entropy(F.embedding(ids, weight).tanh(), weight, labels), weight)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_it_takes_no_product_more_and_far_less_memory(chunks: Chunks) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(size, C, generator=generator).requires_grad_() for size in (60, 500))
    labels = torch.randint(500, (60,), generator=generator)
    with Watch() as ours:
        gradients(linear_cross_entropy(hidden, weight, labels), hidden, weight)
    with Watch() as theirs:
        gradients(dense(hidden, weight, labels, None), hidden, weight)
    assert ours.products == theirs.products == 3 * 2 * 60 * 500 * C
    assert theirs.largest == 4 * 60 * 500
    assert ours.largest == 4 * 500 * max(C, min(60, chunks.rows))


def test_how_many_tokens_a_chunk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    sizes = {vocab: lm_head._rows_at_once(torch.empty(vocab, 1)) for vocab in (50_257, 4096, 65)}
    assert sizes == {50_257: 512, 4096: 2048, 65: 2**23 // 65}
    assert lm_head._rows_at_once(torch.empty(50_257, 1, device="meta")) == 4096


def test_a_second_backward_pass_is_refused() -> None:
    hidden, weight, labels = case()
    loss = linear_cross_entropy(hidden, weight, labels)
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


def test_a_label_outside_the_vocabulary_is_refused() -> None:
    hidden, weight, labels = case(1.0)
    for label in (V, -1):
        labels[0, 0] = label
        with pytest.raises(RuntimeError, match=f"index {label} is out of bounds"):
            linear_cross_entropy(hidden, weight, labels)


# --- precision


@CAPS
def test_mixed_precision_is_as_exact_as_the_dense_loss(cap: float | None) -> None:
    exact = case(1.0)
    expected_loss = dense(*exact, cap)
    expected = [expected_loss.detach(), *gradients(expected_loss, exact.hidden, exact.weight)]

    def errors(function: Callable[..., Tensor]) -> list[float]:
        hidden, weight = (leaf.detach().float().requires_grad_() for leaf in (exact.hidden, exact.weight))
        with torch.autocast("cpu", torch.bfloat16):
            loss = function(hidden, weight, exact.labels, cap)
        found = [loss, *gradients(loss, hidden, weight)]
        assert all(each.dtype == torch.float32 for each in found)
        return [distance(mine, theirs) for mine, theirs in zip(found, expected, strict=True)]

    ours = errors(linear_cross_entropy)
    theirs = errors(dense_in_float32)
    assert all(mine < 1.2 * other + 1e-4 for mine, other in zip(ours, theirs, strict=True))
    assert max(ours) < 0.01
    assert min(ours[1:]) > 1e-4, "nothing was bfloat16"


def dense_in_float32(hidden: Tensor, weight: Tensor, labels: Tensor, cap: float | None) -> Tensor:
    """Only the product in what autocast says."""
    logits = (hidden @ weight.mT).float()
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")


def test_a_model_in_bfloat16() -> None:
    exact = case(1.0)
    expected = gradients(dense(*exact, None), exact.hidden, exact.weight)
    hidden, weight = (leaf.detach().bfloat16().requires_grad_() for leaf in (exact.hidden, exact.weight))
    loss = linear_cross_entropy(hidden, weight, exact.labels)
    assert loss.dtype == torch.float32
    found = gradients(loss, hidden, weight)
    assert [each.dtype for each in found] == [torch.bfloat16] * 2
    assert max(distance(mine, theirs) for mine, theirs in zip(found, expected, strict=True)) < 0.02


def test_float16_keeps_what_words_that_are_never_meant_learn() -> None:
    """Their probabilities are less than float16 can hold, and the loss scale comes only with the backward pass."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(12, C, generator=generator)
    weight = torch.randn(V, C, generator=generator) * 0.1
    weight[0] = -30.0 * hidden.mean(0)
    hidden[:] = hidden.mean(0)
    labels = torch.arange(1, 13)
    exact = weight.double().requires_grad_()
    (expected,) = gradients(dense(hidden.double(), exact, labels, None), exact)
    assert 0.0 < float(expected[0].abs().max()) < 1e-8
    leaf = weight.requires_grad_()
    with torch.autocast("cpu", torch.float16):
        loss = linear_cross_entropy(hidden, leaf, labels)
    (found,) = gradients(loss, leaf)
    assert distance(found[0], expected[0]) < 0.05
    assert distance(found, expected) < 0.005


# --- the layer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's, of itself
@pytest.mark.skipif(not find_device("cpu").has_compiler, reason="torch.compile needs a C++ compiler: g++ or clang++")
@CAPS
def test_the_compiled_layer_has_the_same_loss(cap: float | None) -> None:
    exact = case()
    expected = dense(*exact, cap)
    hidden, weight, labels = (leaf.detach() for leaf in exact)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        head = LMHead(C, V, cap)
        head.load_state_dict({"weight": weight})
        head.compile()
        leaf = hidden.float().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            loss = head(leaf, labels)
        assert distance(loss, expected) < tolerance
        found = gradients(loss, leaf, head.weight)
        for mine, theirs in zip(found, gradients(dense(*exact, cap), exact.hidden, exact.weight), strict=True):
            assert distance(mine, theirs) < tolerance


@CAPS
def test_the_layer_gives_logits_and_their_loss(cap: float | None) -> None:
    hidden, weight, labels = case()
    head = LMHead(C, V, cap).double()
    assert list(head.state_dict()) == ["weight"]
    head.load_state_dict({"weight": weight})
    logits = head(hidden)
    assert logits.shape == (B, T, V)
    assert (float(logits.detach().abs().max()) < 2.0) == (cap is not None)
    expected = F.cross_entropy(logits.mT, labels, reduction="none")
    assert head(hidden, labels).item() == pytest.approx(expected.sum().item(), rel=1e-12)
    torch.testing.assert_close(head(hidden, labels, reduction="none"), expected.detach())


@pytest.mark.parametrize("cap", [0.0, -1.0, float("inf"), float("nan")])
def test_a_cap_is_positive(cap: float) -> None:
    with pytest.raises(InputError, match=r"backbone\.logit_softcap=.* must be positive; null caps nothing"):
        GPTConfig(logit_softcap=cap)


def test_fsdp_gathers_and_scatters_around_it(one_process: Any) -> None:
    """Its hooks are those of a module that is called."""
    hidden, weight, labels = case()
    expected = gradients(dense(hidden, weight, labels, None), hidden, weight)
    head: nn.Module = LMHead(C, V).double()
    head.load_state_dict({"weight": weight})
    fully_shard(head, mesh=one_process)
    assert isinstance(head.weight, DTensor)
    (3.0 * head(hidden, labels)).backward()
    assert hidden.grad is not None
    torch.testing.assert_close(hidden.grad, expected[0])
    assert isinstance(head.weight.grad, DTensor)
    torch.testing.assert_close(head.weight.grad.full_tensor(), expected[1])
