"""Chunked cross-entropy of the output layer, compared with the dense loss in float64."""

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
    """Number of tokens in a chunk, and whether ignored tokens are left out."""

    rows: int
    drops_ignored: bool


@pytest.fixture(
    autouse=True,
    params=[Chunks(4, True), Chunks(1000, True), Chunks(4, False)],
    ids=["chunks", "one_chunk", "with_ignored_tokens"],
)
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Chunks:
    """Set small chunks or a single one, as on a CPU or as on a GPU."""
    found: Chunks = request.param
    monkeypatch.setattr(lm_head, "_chunk_size", lambda _: found.rows)
    monkeypatch.setattr(lm_head, "_drops_ignored", lambda _: found.drops_ignored)
    return found


class Case(NamedTuple):
    """Float64 leaves with values that float32 can represent, and labels, some of them ignored."""

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
    """Compute the loss with all logits in memory."""
    logits = hidden @ weight.mT
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE_INDEX, reduction=reduction)


def gradients(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
    """Return the gradients of a multiple of the loss, like the scaled loss of a trainer."""
    return list(torch.autograd.grad(3.0 * loss, leaves))


@CAPS
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("labeled", [1.0, 0.6, 0.15])
def test_loss_matches_the_dense_loss(cap: float | None, dtype: torch.dtype, tolerance: float, labeled: float) -> None:
    exact = case(labeled)
    assert (exact.labels != IGNORE_INDEX).any()
    expected = dense(*exact, cap)
    hidden, weight = (leaf.detach().to(dtype).requires_grad_() for leaf in (exact.hidden, exact.weight))
    actual = linear_cross_entropy(hidden, weight, exact.labels, cap)
    assert actual.dtype == dtype
    assert distance(actual, expected) < tolerance
    found = gradients(actual, hidden, weight)
    for gradient, wanted in zip(found, gradients(expected, exact.hidden, exact.weight), strict=True):
        assert gradient.dtype == dtype
        assert distance(gradient, wanted) < tolerance


@CAPS
def test_reduction_none_gives_the_loss_of_each_token(cap: float | None, chunks: Chunks) -> None:
    hidden, weight, labels = case()
    expected = dense(hidden, weight, labels, cap, "none").view(B, T)
    actual = linear_cross_entropy(hidden, weight, labels, cap, reduction="none")
    torch.testing.assert_close(actual, expected.detach(), rtol=1e-13, atol=0)
    assert not actual.requires_grad
    with torch.no_grad(), Watch() as watch:
        assert linear_cross_entropy(hidden, weight, labels, cap).item() == pytest.approx(expected.sum().item(), 1e-13)
    tokens = int((labels != IGNORE_INDEX).sum()) if chunks.drops_ignored else B * T
    assert watch.products == 2 * tokens * C * V, "computes unneeded gradients"


def test_loss_without_labels_is_zero() -> None:
    hidden, weight, labels = case()
    loss = linear_cross_entropy(hidden, weight, torch.full_like(labels, IGNORE_INDEX))
    assert loss.item() == 0.0
    assert [int(gradient.count_nonzero()) for gradient in gradients(loss, hidden, weight)] == [0, 0]
    assert linear_cross_entropy(hidden, weight, torch.full_like(labels, IGNORE_INDEX), reduction="none").sum() == 0.0


def test_ignored_tokens_do_not_affect_gradients(chunks: Chunks) -> None:
    hidden, weight, labels = case()
    expected = gradients(linear_cross_entropy(hidden, weight, labels), hidden, weight)
    ignored = (labels == IGNORE_INDEX).unsqueeze(-1)
    broken = hidden.detach().masked_fill(ignored, torch.nan).requires_grad_()
    with Watch() as watch:
        actual = gradients(linear_cross_entropy(broken, weight, labels), broken, weight)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    assert watch.products == 3 * 2 * (int((~ignored).sum()) if chunks.drops_ignored else B * T) * C * V


@pytest.mark.parametrize("frozen", ["hidden", "weight", "both"])
def test_frozen_inputs_cost_no_matrix_product(frozen: str) -> None:
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


def test_tied_weight_gets_both_gradients() -> None:
    _, weight, labels = case()
    ids = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    (expected,) = gradients(dense(F.embedding(ids, weight).tanh(), weight, labels, None), weight)
    (actual,) = gradients(linear_cross_entropy(F.embedding(ids, weight).tanh(), weight, labels), weight)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_loss_takes_as_many_products_and_less_memory(chunks: Chunks) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(size, C, generator=generator).requires_grad_() for size in (60, 500))
    labels = torch.randint(500, (60,), generator=generator)
    with Watch() as chunked:
        gradients(linear_cross_entropy(hidden, weight, labels), hidden, weight)
    with Watch() as reference:
        gradients(dense(hidden, weight, labels, None), hidden, weight)
    assert chunked.products == reference.products == 3 * 2 * 60 * 500 * C
    assert reference.largest == 4 * 60 * 500
    assert chunked.largest == 4 * 500 * max(C, min(60, chunks.rows))


def test_chunk_size_depends_on_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    sizes = {vocab: lm_head._chunk_size(torch.empty(vocab, 1)) for vocab in (50_257, 4096, 65)}
    assert sizes == {50_257: 512, 4096: 2048, 65: 2**23 // 65}
    assert lm_head._chunk_size(torch.empty(50_257, 1, device="meta")) == 4096


def test_second_backward_pass_is_refused() -> None:
    hidden, weight, labels = case()
    loss = linear_cross_entropy(hidden, weight, labels)
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


def test_label_outside_the_vocabulary_is_refused() -> None:
    hidden, weight, labels = case(1.0)
    for label in (V, -1):
        labels[0, 0] = label
        with pytest.raises(RuntimeError, match=f"index {label} is out of bounds"):
            linear_cross_entropy(hidden, weight, labels)


# --- precision


@CAPS
def test_mixed_precision_is_as_precise_as_the_dense_loss(cap: float | None) -> None:
    exact = case(1.0)
    expected_loss = dense(*exact, cap)
    expected = [expected_loss.detach(), *gradients(expected_loss, exact.hidden, exact.weight)]

    def errors(function: Callable[..., Tensor]) -> list[float]:
        hidden, weight = (leaf.detach().float().requires_grad_() for leaf in (exact.hidden, exact.weight))
        with torch.autocast("cpu", torch.bfloat16):
            loss = function(hidden, weight, exact.labels, cap)
        found = [loss, *gradients(loss, hidden, weight)]
        assert all(each.dtype == torch.float32 for each in found)
        return [distance(actual, wanted) for actual, wanted in zip(found, expected, strict=True)]

    chunked = errors(linear_cross_entropy)
    reference = errors(dense_in_float32)
    assert all(error < 1.2 * other + 1e-4 for error, other in zip(chunked, reference, strict=True))
    assert max(chunked) < 0.01
    assert min(chunked[1:]) > 1e-4, "nothing was bfloat16"


def dense_in_float32(hidden: Tensor, weight: Tensor, labels: Tensor, cap: float | None) -> Tensor:
    """Compute the loss in float32, and only the matrix product in autocast's dtype."""
    logits = (hidden @ weight.mT).float()
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")


def test_bfloat16_model_has_a_float32_loss() -> None:
    exact = case(1.0)
    expected = gradients(dense(*exact, None), exact.hidden, exact.weight)
    hidden, weight = (leaf.detach().bfloat16().requires_grad_() for leaf in (exact.hidden, exact.weight))
    loss = linear_cross_entropy(hidden, weight, exact.labels)
    assert loss.dtype == torch.float32
    found = gradients(loss, hidden, weight)
    assert [each.dtype for each in found] == [torch.bfloat16] * 2
    assert max(distance(actual, wanted) for actual, wanted in zip(found, expected, strict=True)) < 0.02


def test_float16_keeps_the_gradients_of_unlikely_tokens() -> None:
    """Their probabilities underflow in float16, and the loss scale comes only with the backward pass."""
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
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # raised by torch itself
@pytest.mark.skipif(not find_device("cpu").has_compiler, reason="torch.compile needs a C++ compiler: g++ or clang++")
@CAPS
def test_compiled_layer_has_the_same_loss(cap: float | None) -> None:
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
        for gradient, wanted in zip(found, gradients(dense(*exact, cap), exact.hidden, exact.weight), strict=True):
            assert distance(gradient, wanted) < tolerance


@CAPS
def test_layer_returns_logits_or_their_loss(cap: float | None) -> None:
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
def test_invalid_cap_is_refused(cap: float) -> None:
    with pytest.raises(InputError, match=r"backbone\.logit_softcap=.* must be positive; null turns it off"):
        GPTConfig(logit_softcap=cap)


def test_fsdp_shards_the_layer(one_process: Any) -> None:
    """FSDP gathers the weight in hooks, which run only when the module is called."""
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
