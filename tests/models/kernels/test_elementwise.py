"""Hand-written backward passes, compared with autograd of the plain formulas in float64."""

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


def complex_rotation(x: Tensor) -> Tensor:
    """Multiply each rotary pair, as a complex number, by one of absolute value 1."""
    product = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(ANGLES), ANGLES)
    return torch.cat((product.real, product.imag), -1)


def rms_norm(x: Tensor, weight: Tensor, kind: type[RMSNorm] = RMSNorm) -> Tensor:
    """Apply our norm with the given weight."""
    norm = kind(x.size(-1), eps=1e-2)
    del norm.weight
    norm.weight = weight  # type: ignore[assignment]
    return norm(x)  # type: ignore[no-any-return]


def rms_norm_formula(x: Tensor, weight: Tensor) -> Tensor:
    """Apply Zhang & Sennrich's formula."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-2).sqrt() * weight


SHAPE = (2, T, HEADS, WIDTH)
CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "rms_norm": (rms_norm, rms_norm_formula, (SHAPE, (WIDTH,))),
    "zero_centered_rms_norm": (
        partial(rms_norm, kind=ZeroCenteredRMSNorm),
        lambda x, weight: rms_norm_formula(x, 1.0 + weight),
        (SHAPE, (WIDTH,)),
    ),
    "rotate": (lambda x: rotate(x, COS, SIGNED_SIN), complex_rotation, (SHAPE,)),
    "squared_relu": (squared_relu, lambda x: F.relu(x).square(), (SHAPE,)),
    "geglu": (geglu, lambda gate, up: F.gelu(gate, approximate="tanh") * up, (SHAPE, SHAPE)),
    "swiglu": (swiglu, lambda gate, up: gate * gate.sigmoid() * up, (SHAPE, SHAPE)),
}


@pytest.mark.parametrize("is_strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_match_the_plain_formula(name: str, is_strided: bool) -> None:
    actual, expected, shapes = CASES[name]
    torch.manual_seed(0)
    # Queries, keys and values are views of a larger tensor, with gaps in memory.
    inputs = [torch.randn(*shape, 2 if is_strided else 1)[..., 0].requires_grad_() for shape in shapes]
    exact = [each.detach().double().requires_grad_() for each in inputs]
    found, wanted = actual(*inputs), expected(*exact)
    direction = torch.randn(SHAPE).transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        # Without gradients, the order of operations is another in norms and rotations.
        tolerance = 1e-6 if "norm" in name or name == "rotate" else 0.0
        torch.testing.assert_close(actual(*inputs), found, rtol=tolerance, atol=tolerance)
    gradients = torch.autograd.grad(found, inputs, direction)
    for gradient, other in zip(gradients, torch.autograd.grad(wanted, exact, direction.double()), strict=True):
        torch.testing.assert_close(gradient.double(), other, rtol=1e-5, atol=1e-5)


def test_norm_in_bfloat16_matches_torchs() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 64, dtype=torch.bfloat16)
    norm = RMSNorm(64, eps=1e-6, dtype=torch.bfloat16)
    assert torch.equal(norm(x), F.rms_norm(x, (64,), norm.weight, 1e-6))


@pytest.mark.parametrize("name", ["squared_relu", "swiglu"])
def test_only_inputs_are_kept_for_the_backward_pass(name: str) -> None:
    function, _, shapes = CASES[name]
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function(*inputs)
    assert len(kept) == len(inputs)


def test_results_without_gradients_match_hugging_face_bit_for_bit() -> None:
    """Scores rounded to four decimals must be the same as Hugging Face's."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    torch.manual_seed(0)
    x, queries, keys = torch.randn(2, T, 576), torch.randn(2, T, HEADS, WIDTH), torch.randn(2, T, HEADS, WIDTH)
    norm, reference = RMSNorm(576, eps=1e-5), llama.LlamaRMSNorm(576, eps=1e-5)
    reference.weight = norm.weight = torch.nn.Parameter(torch.randn(576))
    sin = SIGNED_SIN.clone()
    sin[..., : WIDTH // 2] *= -1.0
    by_head = [each.transpose(0, 1) for each in (COS, sin)]  # Hugging Face has (batch, T, D)
    with torch.no_grad():
        assert torch.equal(norm(x), reference(x))
        rotated = llama.apply_rotary_pos_emb(queries, keys, *by_head, unsqueeze_dim=2)
        for each, other in zip((queries, keys), rotated, strict=True):
            assert torch.equal(rotate(each, COS, SIGNED_SIN), other)
