"""The hand-written backward passes, beside autograd's of the plain formulas in float64."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.models.kernels.elementwise import RMSNorm, ZeroCenteredRMSNorm, geglu, rotate, squared_relu, swiglu

T, HEADS, WIDTH = 5, 3, 8
ANGLES = torch.randn(T, 1, WIDTH // 2, generator=torch.Generator().manual_seed(0))
COS = torch.cat((ANGLES.cos(), ANGLES.cos()), -1)
SIGNED_SIN = torch.cat((-ANGLES.sin(), ANGLES.sin()), -1)


def rotated(x: Tensor) -> Tensor:
    """Each pair of channels as a complex number, times one of length 1."""
    turned = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(ANGLES), ANGLES)
    return torch.cat((turned.real, turned.imag), -1)


def rms_norm(x: Tensor, weight: Tensor, kind: type[RMSNorm] = RMSNorm) -> Tensor:
    """By this project's class."""
    norm = kind(x.size(-1), eps=1e-2)
    del norm.weight
    norm.weight = weight  # type: ignore[assignment]
    return norm(x)  # type: ignore[no-any-return]


def plain_rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Zhang & Sennrich's formula."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-2).sqrt() * weight


SHAPE = (2, T, HEADS, WIDTH)
CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "rms_norm": (rms_norm, plain_rms_norm, (SHAPE, (WIDTH,))),
    "zero_centered_rms_norm": (
        partial(rms_norm, kind=ZeroCenteredRMSNorm),
        lambda x, weight: plain_rms_norm(x, 1.0 + weight),
        (SHAPE, (WIDTH,)),
    ),
    "rotate": (lambda x: rotate(x, COS, SIGNED_SIN), rotated, (SHAPE,)),
    "squared_relu": (squared_relu, lambda x: F.relu(x).square(), (SHAPE,)),
    "geglu": (geglu, lambda gate, up: F.gelu(gate, approximate="tanh") * up, (SHAPE, SHAPE)),
    "swiglu": (swiglu, lambda gate, up: gate * gate.sigmoid() * up, (SHAPE, SHAPE)),
}


@pytest.mark.parametrize("is_part", [False, True], ids=["whole", "part"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_plain_formula(name: str, is_part: bool) -> None:
    actual, expected, shapes = CASES[name]
    torch.manual_seed(0)
    # A part of a larger tensor has gaps in memory, as queries have beside keys and values.
    inputs = [torch.randn(*shape, 2 if is_part else 1)[..., 0].requires_grad_() for shape in shapes]
    exact = [each.detach().double().requires_grad_() for each in inputs]
    found, wanted = actual(*inputs), expected(*exact)
    direction = torch.randn(SHAPE).transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        # Norms and rotations take their operations in another order there.
        tolerance = 1e-6 if "norm" in name or name == "rotate" else 0.0
        torch.testing.assert_close(actual(*inputs), found, rtol=tolerance, atol=tolerance)
    gradients = torch.autograd.grad(found, inputs, direction)
    for ours, theirs in zip(gradients, torch.autograd.grad(wanted, exact, direction.double()), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


def test_a_norm_of_half_precision_is_torchs() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 64, dtype=torch.bfloat16)
    norm = RMSNorm(64, eps=1e-6, dtype=torch.bfloat16)
    assert torch.equal(norm(x), F.rms_norm(x, (64,), norm.weight, 1e-6))


@pytest.mark.parametrize("name", ["squared_relu", "swiglu"])
def test_what_is_kept_for_the_backward_pass_is_what_came_in(name: str) -> None:
    function, _, shapes = CASES[name]
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function(*inputs)
    assert len(kept) == len(inputs)


def test_without_gradients_they_are_hugging_faces_to_the_last_bit() -> None:
    """So that scores which are rounded to four decimals are the same four decimals."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    torch.manual_seed(0)
    x, queries, keys = torch.randn(2, T, 576), torch.randn(2, T, HEADS, WIDTH), torch.randn(2, T, HEADS, WIDTH)
    ours, theirs = RMSNorm(576, eps=1e-5), llama.LlamaRMSNorm(576, eps=1e-5)
    theirs.weight = ours.weight = torch.nn.Parameter(torch.randn(576))
    sin = SIGNED_SIN.clone()
    sin[..., : WIDTH // 2] *= -1.0
    by_head = [each.transpose(0, 1) for each in (COS, sin)]  # theirs is (batch, T, D)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
        turned = llama.apply_rotary_pos_emb(queries, keys, *by_head, unsqueeze_dim=2)
        for each, other in zip((queries, keys), turned, strict=True):
            assert torch.equal(rotate(each, COS, SIGNED_SIN), other)
