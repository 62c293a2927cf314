"""Parameter groups, and the settings and steps of AdamW."""

from typing import Any

import pytest
import torch
from torch import nn

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import OptimizerConfig
from gpt_lightning.optim.groups import parameter_groups
from gpt_lightning.tasks import CausalLM

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False},
    "all": {"norm": "rmsnorm", "mlp": "swiglu", "qk_norm": True, "n_kv_head": 1, "tie_embeddings": False},
}


def task(**shape: Any) -> CausalLM:
    return CausalLM(
        backbone=GPTConfig(**({"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 4} | shape)), vocab_size=5
    )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_only_norms_and_biases_do_not_decay(shape: dict[str, Any]) -> None:
    module = task(**shape)
    decaying, others = parameter_groups(module, 0.3)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    expected = set()
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            expected.add(part.weight)
        else:
            assert isinstance(part, nn.LayerNorm | nn.RMSNorm) or not list(part.parameters(recurse=False))
    assert set(decaying["params"]) == expected
    assert set(others["params"]) == set(module.parameters()) - expected


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_parameter_is_in_one_group_once(shape: dict[str, Any]) -> None:
    module = task(**shape)
    grouped = [p for group in OptimizerConfig().build(module).param_groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(module.parameters())
    tied = module.head.weight is module.backbone.token_embedding.weight
    assert tied == shape.get("tie_embeddings", True)
    assert sum(p is module.head.weight for p in grouped) == 1


def test_frozen_parameters_are_left_out() -> None:
    module = task()
    module.backbone.blocks[0].requires_grad_(False)
    grouped = {p for group in parameter_groups(module, 0.1) for p in group["params"]}
    assert grouped == set(module.parameters()) - set(module.backbone.blocks[0].parameters())


def test_settings_reach_the_optimizer() -> None:
    optimizer = OptimizerConfig(lr=0.5, beta1=0.6, beta2=0.7, eps=0.8, weight_decay=0.9).build(task())
    for group, weight_decay in zip(optimizer.param_groups, (0.9, 0.0), strict=True):
        assert {key: group[key] for key in ("lr", "betas", "eps", "weight_decay")} == {
            "lr": 0.5,
            "betas": (0.6, 0.7),
            "eps": 0.8,
            "weight_decay": weight_decay,
        }


def test_first_step_matches_the_paper() -> None:
    """The first update is the sign of the gradient times the rate, after weight decay."""
    module = nn.Linear(3, 1)
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.full_like(p, -2.0)
    OptimizerConfig(lr=0.1, weight_decay=0.5, eps=0.0).build(module).step()
    torch.testing.assert_close(module.weight, start["weight"] * (1 - 0.1 * 0.5) + 0.1)
    torch.testing.assert_close(module.bias, start["bias"] + 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, r"optimizer\.lr=0\.0 must be positive"),
        ({"lr": -1.0}, r"optimizer\.lr=-1\.0 must be positive"),
        ({"beta1": 1.0}, r"optimizer\.beta1=1\.0 must lie in \[0, 1\)"),
        ({"beta2": -0.1}, r"optimizer\.beta2=-0\.1 must lie in \[0, 1\)"),
        ({"eps": -1e-8}, r"optimizer\.eps=-1e-08 must be at least 0"),
        ({"weight_decay": -0.1}, r"optimizer\.weight_decay=-0\.1 must be at least 0"),
        ({"max_skipped_steps": -1}, r"optimizer\.max_skipped_steps=-1 must be at least 0"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OptimizerConfig(**settings)
