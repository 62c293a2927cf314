"""Freezing and layer-wise learning rates."""

from typing import Any

import pytest
import torch

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import FineTuning, OptimizerConfig
from gpt_lightning.tasks import TokenClassification

POSITIONS = ("learned", "rotary")


def task(position: Any = "learned", **settings: Any) -> TokenClassification:
    shape = GPTConfig(vocab_size=7, block_size=4, n_layer=3, n_head=2, n_embd=8, position=position)
    return TokenClassification(
        backbone=shape, labels=["O", "B-X"], optimizer=OptimizerConfig(lr=0.1), fine_tuning=FineTuning(**settings)
    )


def rates(module: TokenClassification) -> dict[str, float]:
    """Return each trained parameter's ratio of its learning rate to the peak rate."""
    optimizer = module.configure_optimizers()
    ratios = {id(p): float(group["lr_ratio"]) for group in optimizer.param_groups for p in group["params"]}
    return {name: ratios[id(p)] for name, p in module.named_parameters() if id(p) in ratios}


def test_by_default_all_parameters_have_one_rate() -> None:
    module = task()
    assert set(rates(module).values()) == {1.0}
    assert len(module.configure_optimizers().param_groups) == 2, "one that decays, one that does not"


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("freeze", [0, 1, 3, "all"])
def test_freeze_covers_embeddings_and_lower_blocks(position: str, freeze: Any) -> None:
    module = task(position, freeze=freeze)
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    blocks = 3 if freeze == "all" else freeze
    expected = {
        name
        for name, _ in module.backbone.named_parameters(prefix="backbone")
        if (freeze and "embedding" in name)
        or any(f"blocks.{block}." in name for block in range(blocks))
        or freeze == "all"
    }
    assert frozen == expected
    assert set(rates(module)) == {name for name, _ in module.named_parameters()} - expected


@pytest.mark.parametrize("position", POSITIONS)
def test_rates_decay_from_the_last_layer_down(position: str) -> None:
    found = rates(task(position, layer_lr_decay=0.5))
    for name, rate in found.items():
        if name.startswith("head."):
            assert rate == 1.0
        elif "blocks" in name:
            assert rate == 0.5 ** (3 - int(name.split(".")[2])), name
        else:
            assert rate == (0.5**4 if "embedding" in name else 1.0), name


def test_head_lr_applies_to_the_head_only() -> None:
    found = rates(task(head_lr=0.3))
    assert {round(rate, 9) for name, rate in found.items() if name.startswith("head.")} == {3.0}
    assert {rate for name, rate in found.items() if not name.startswith("head.")} == {1.0}


def test_first_step_has_the_size_of_the_rate() -> None:
    """The first step of AdamW equals the learning rate for any gradient."""
    module = task(head_lr=0.3, layer_lr_decay=0.5)
    optimizer = module.configure_optimizers()
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * group["lr_ratio"]
        group["weight_decay"] = 0.0
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for name, p in module.named_parameters():
        torch.testing.assert_close(
            before[name] - p, torch.full_like(p, 0.1 * rates(module)[name]), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": -1}, 'freeze=-1 must be 0 or more, or "all"'),
        ({"freeze": 4}, "freeze=4, but the backbone has 3 blocks"),
        ({"layer_lr_decay": 0.0}, r"layer_lr_decay=0\.0 must lie in \(0, 1\]"),
        ({"layer_lr_decay": 1.5}, r"layer_lr_decay=1\.5 must lie in \(0, 1\]"),
        ({"head_lr": 0.0}, r"head_lr=0\.0 must be positive"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"fine_tuning\.{message}"):
        task(**settings)
