"""Products of a few rows, in slices of the weight, beside the whole product in float64."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.models.kernels.linear import Linear, _slices


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of all weights that were taken in slices."""
    shapes: list[tuple[int, ...]] = []
    whole: Callable[[Tensor, Tensor], Tensor] = torch.bmm

    def recorded(x: Tensor, weight: Tensor) -> Tensor:
        shapes.append(tuple(weight.shape))
        return whole(x, weight)

    monkeypatch.setattr(torch, "bmm", recorded)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    _slices.cache_clear()
    yield shapes
    _slices.cache_clear()


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", [(4,), (8, 1), (2, 5), (15,)], ids=str)
def test_slices_are_the_whole(sliced: list[tuple[int, ...]], shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = Linear(20, 96, bias=bias), torch.randn(*shape, 24)[..., :20]
    with torch.no_grad():
        found = layer(x)
    expected = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert sliced == [(2, 20, 48)]


def test_else_it_is_one_product(sliced: list[tuple[int, ...]]) -> None:
    layer, x = Linear(20, 96), torch.randn(8, 20)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        for few, whole in ((x[:3], layer), (x.repeat(2, 1), layer), (x, Linear(20, 97)), (x[:0], layer)):
            assert torch.equal(whole(few), F.linear(few, whole.weight, whole.bias))
        layer.bfloat16()(x.bfloat16())
    assert sliced == []


@pytest.mark.parametrize(("rows", "slices"), [(96, 2), (960, 20), (50257, 1733), (97, 1), (7, 1), (8, 1)])
def test_slices_are_equal_and_of_a_good_size(sliced: list[tuple[int, ...]], rows: int, slices: int) -> None:
    assert _slices(rows) == slices
    assert sliced == []
