"""Effect of layers and heads, compared with weights of zero."""

import torch

from gpt_lightning.evaluation.explain.ablation import ablate_heads, ablate_layers
from gpt_lightning.models import GPT
from tests.models import test_encoder_decoder, test_gpt

IDS = torch.tensor([[3, 1, 4, 1, 5]])


@torch.no_grad()
def score(gpt: GPT) -> float:
    return float(gpt(IDS)[0, -1, 0])


def test_layers_match_weights_of_zero() -> None:
    gpt = test_gpt.model(bias=False)
    found = ablate_layers(gpt, lambda: score(gpt))
    assert [each.layer for each in found] == [f"blocks.{n}.{part}" for n in range(2) for part in ("attention", "mlp")]
    for effect in found:
        zeroed = test_gpt.model(bias=False)
        torch.nn.init.zeros_(zeroed.get_parameter(f"{effect.layer}.proj.weight"))
        assert abs(effect.score - score(zeroed)) < 1e-12
        assert effect.change == effect.score - score(gpt) != 0.0
        assert effect.head is None


def test_heads_match_weights_of_zero() -> None:
    gpt = test_gpt.model()
    found = ablate_heads(gpt, lambda: score(gpt))
    assert [(each.layer, each.head) for each in found] == [
        (f"blocks.{number}.attention", head) for number in range(2) for head in range(4)
    ]
    width = gpt.config.head_width
    for effect in found:
        zeroed = test_gpt.model()
        assert effect.head is not None
        with torch.no_grad():
            weight = zeroed.get_parameter(f"{effect.layer}.proj.weight")
            weight[:, effect.head * width : (effect.head + 1) * width] = 0.0
        assert abs(effect.score - score(zeroed)) < 1e-12


def test_all_layers_of_an_encoder_decoder_are_ablated() -> None:
    model = test_encoder_decoder.model()

    @torch.no_grad()
    def last() -> float:
        return float(model(IDS, source_ids=IDS)[0, -1, 0])

    names = {each.layer for each in ablate_layers(model, last)}
    assert {"encoder.blocks.2.mlp", "encoder.blocks.0.attention", "blocks.1.cross_attention"} < names
    assert all(each.change for each in ablate_heads(model, last))
