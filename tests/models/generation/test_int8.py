"""Int8 weights: no error other than that of rounding the weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import generate
from gpt_lightning.models.generation.int8 import Int8Linear, quantize
from gpt_lightning.models.lm_head import LMHead
from tests.models.generation.test_generate import GREEDY, SHAPES
from tests.models.huggingface.test_parity import random_ids
from tests.models.test_gpt import randomize

pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def no_gradients() -> Any:
    """Turn gradients off, as in generation."""
    with torch.no_grad():
        yield


def dequantized(weight_NC: Tensor) -> Tensor:
    """Round each row of a weight to multiples of its int8 step, in float64."""
    step_N1 = weight_NC.double().abs().amax(1, keepdim=True) / 127.0
    return (weight_NC / step_N1).round() * step_N1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 8), (7, 64), (2, 3, 200), (40, 1000)], ids=str)
def test_product_matches_that_of_the_rounded_weights(shape: tuple[int, ...], bias: bool) -> None:
    layer, x = nn.Linear(shape[-1], 50, bias=bias), torch.randn(shape)
    # Published models have outlier channels in the residual stream, a hundred times larger than the others.
    x[..., :2] *= 100.0
    expected = nn.functional.linear(
        x.double(), dequantized(layer.weight), None if layer.bias is None else layer.bias.double()
    )
    actual = Int8Linear(layer.weight, layer.bias)(x)
    assert (actual.dtype, actual.shape) == (torch.float32, expected.shape)
    # The input is truncated to multiples of its maximum / (127 * 127), an error that each weight multiplies.
    bound = x.abs().amax(-1, keepdim=True) / (127 * 127) * layer.weight.abs().sum(1)
    assert ((actual - expected).abs() <= bound + 1e-5 * x.abs().amax()).all()
    single_int8_bound = x.abs().amax(-1, keepdim=True) / (2 * 127) * layer.weight.abs().sum(1)
    assert (bound < single_int8_bound / 60).all()


def test_zeros_and_large_values_are_exact() -> None:
    layer = nn.Linear(4096, 3)
    layer.weight[0] = 0.0
    int8 = Int8Linear(layer.weight, layer.bias)
    assert int8(torch.zeros(2, 4096)).equal(layer.bias.expand(2, -1))
    ones = torch.full((1, 4096), 1e4)
    layer.weight[1:] = 3.0  # the largest possible sum of products
    torch.testing.assert_close(Int8Linear(layer.weight, layer.bias)(ones), layer(ones), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("mlp", ["gelu", "gelu_exact", "relu2", "swiglu", "geglu"])
def test_model_matches_that_of_the_rounded_weights(shape: dict[str, Any], mlp: str) -> None:
    config = GPTConfig(
        **({"vocab_size": 61, "block_size": 16, "n_layer": 2, "n_head": 4, "n_embd": 32} | shape | {"mlp": mlp})
    )
    gpt, head = GPT(config).eval(), LMHead(32, 61, logit_softcap=5.0)
    randomize(gpt)
    ids = random_ids(3, 16)
    exact = head(gpt(ids))
    for matrix, rows in gpt.matrices().items():
        matrix.copy_(dequantized(matrix))
        assert sum(rows) == len(matrix)
    expected = nn.functional.linear(gpt(ids), dequantized(head.weight).float())
    expected = 5.0 * (expected / 5.0).tanh()

    int8_head = quantize(gpt, head)
    held = {name: p for name, p in gpt.named_parameters() if p.ndim == 2}
    assert {name.split(".")[0] for name in held} <= {"token_embedding", "position_embedding"}, "a float matrix is left"
    actual = int8_head(gpt(ids))
    assert (actual - expected).abs().max() < (exact - expected).abs().max() / 20
    steps = generate(Decoder(gpt), int8_head, ids[:, :3], max_new_tokens=13, sampling=GREEDY)
    assert torch.stack(list(steps)).shape == (13, 3)
