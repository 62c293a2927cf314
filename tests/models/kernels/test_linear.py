"""Products of few rows with slices of the weight, compared with the full product in float64."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.models.kernels.linear import Linear, _num_slices


@pytest.fixture
def slice_shapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Record the shapes of all weights that are multiplied in slices."""
    shapes: list[tuple[int, ...]] = []
    bmm: Callable[[Tensor, Tensor], Tensor] = torch.bmm

    def record(x: Tensor, weight: Tensor) -> Tensor:
        shapes.append(tuple(weight.shape))
        return bmm(x, weight)

    monkeypatch.setattr(torch, "bmm", record)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    _num_slices.cache_clear()
    yield shapes
    _num_slices.cache_clear()


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", [(4,), (8, 1), (2, 5), (15,)], ids=str)
def test_sliced_product_matches_the_full_product(
    slice_shapes: list[tuple[int, ...]], shape: tuple[int, ...], bias: bool
) -> None:
    torch.manual_seed(0)
    layer, x = Linear(20, 96, bias=bias), torch.randn(*shape, 24)[..., :20]
    with torch.no_grad():
        found = layer(x)
    expected = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert slice_shapes == [(2, 20, 48)]


def test_other_inputs_use_a_single_product(slice_shapes: list[tuple[int, ...]]) -> None:
    layer, x = Linear(20, 96), torch.randn(8, 20)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        for rows, each in ((x[:3], layer), (x.repeat(2, 1), layer), (x, Linear(20, 97)), (x[:0], layer)):
            assert torch.equal(each(rows), F.linear(rows, each.weight, each.bias))
        layer.bfloat16()(x.bfloat16())
    assert slice_shapes == []


@pytest.mark.parametrize(("rows", "slices"), [(96, 2), (960, 20), (50257, 1733), (97, 1), (7, 1), (8, 1)])
def test_slices_have_equal_sizes_within_the_bounds(slice_shapes: list[tuple[int, ...]], rows: int, slices: int) -> None:
    assert _num_slices(rows) == slices
    assert slice_shapes == []
