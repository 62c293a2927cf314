"""Which shapes a model family can express: every field of ``GPTConfig`` is claimed, or must have its default."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.models import GPTConfig
from gpt_lightning.models.huggingface import why_not_huggingface
from gpt_lightning.models.huggingface.families import FAMILIES
from gpt_lightning.models.huggingface.families.family import TRAINING, Family
from gpt_lightning.models.huggingface.folder import effective
from gpt_lightning.models.huggingface.heads import CAUSAL_LM, HEADS
from gpt_lightning.models.huggingface.options import Options

LLAMA: dict[str, Any] = {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA | {"bias": "qkv"},
    "qwen3": LLAMA | {"qk_norm": True},
    "smollm3": LLAMA | {"nope_interval": 2},
    "phi3": LLAMA,
    "olmo2": LLAMA | {"qk_norm": "projection", "norm_placement": "after"},
    "gemma3_text": LLAMA
    | {
        "norm": "rmsnorm_zero_centered",
        "norm_placement": "both",
        "mlp": "geglu",
        "qk_norm": True,
        "scale_embeddings": True,
    },
}
"""For each family a shape that it can express."""

OTHER_VALUES: dict[str, tuple[Any, ...]] = {
    "vocab_size": (50, 51),
    "block_size": (32,),
    "n_layer": (3,),
    "n_head": (4,),
    "n_kv_head": (1, 2),
    "head_dim": (6, 8, 10),
    "n_embd": (16, 24, 28),
    "n_inner": (20, 30),
    "position": ("learned", "rotary"),
    "rope_theta": (50.0,),
    "rope_factor": (8.0,),
    "rope_low_freq_factor": (0.5,),
    "rope_high_freq_factor": (3.0,),
    "rope_original_block_size": (64,),
    "rope_global_interval": (1, 2, 3),
    "rope_local_theta": (20.0,),
    "nope_interval": (2, 3),
    "norm": ("layernorm", "rmsnorm", "rmsnorm_zero_centered"),
    "norm_eps": (0.1,),
    "norm_placement": ("before", "after", "both"),
    "mlp": ("gelu", "swiglu", "geglu", "relu2"),
    "bias": (True, False, "attention", "qkv"),
    "qk_norm": (True, False, "projection"),
    "query_pre_attn_scalar": (5,),
    "attention": ("bidirectional",),
    "scale_embeddings": (True, False),
    "tie_embeddings": (True, False),
    "logit_softcap": (0.5, 30.0),
    "zero_init_proj": (True,),
    "dropout": (0.1,),
    "attention_dropout": (0.2,),
}
"""For each field values that differ from its default or from one another."""

ALL_FAMILIES = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)


def shape_of(family: Family, **changes: Any) -> GPTConfig:
    stretched = {"rope_original_block_size": 64} if "rope_factor" in changes else {}
    sizes = {"vocab_size": 40, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16}
    return GPTConfig(**(sizes | SHAPES[family.model_type] | stretched | changes))


def read_back(family: Family, config: GPTConfig) -> GPTConfig:
    """The shape that the family reads from the ``config.json`` that it writes."""
    return family.read(Options(Path("config.json"), family.title, family.write(config, CAUSAL_LM)))


def test_every_family_has_a_shape_and_every_field_other_values() -> None:
    assert SHAPES.keys() == {family.model_type for family in FAMILIES}
    assert OTHER_VALUES.keys() == {field.name for field in fields(GPTConfig)}


@ALL_FAMILIES
def test_claims_are_of_fields_that_there_are(family: Family) -> None:
    names = {field.name for field in fields(GPTConfig)}
    assert set(family.claims) <= names
    for name in names - set(family.claims):
        default = next(field.default for field in fields(GPTConfig) if field.name == name)
        assert getattr(shape_of(family), name) == default
    assert family.misfits(shape_of(family), CAUSAL_LM) == []


@dataclass(frozen=True, kw_only=True)
class Newer(GPTConfig):
    """A configuration with fields that no family knows."""

    shiny: bool = False
    depth_scale: float | None = None
    rope_wobble: float = 1.0


@ALL_FAMILIES
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shiny": True}, "has no shiny=true"),
        ({"depth_scale": 2.0}, "has no depth_scale=2.0"),
        ({"rope_wobble": 1.5}, "has no rope_wobble=1.5"),
    ],
    ids=str,
)
def test_a_new_field_is_never_exported_silently(family: Family, change: dict[str, Any], reason: str) -> None:
    neutral = Newer(**vars(shape_of(family)))
    assert family.misfits(neutral, CAUSAL_LM) == []
    assert why_not_huggingface(neutral, CAUSAL_LM, {}) is None
    changed = replace(neutral, **change)
    for each in FAMILIES:
        assert reason in each.misfits(changed, CAUSAL_LM)
    for head in HEADS:
        assert reason in str(why_not_huggingface(changed, head, {}))


@ALL_FAMILIES
@pytest.mark.parametrize("name", OTHER_VALUES)
def test_what_a_family_accepts_is_in_its_configuration(family: Family, name: str) -> None:
    """A value is either refused, or comes back out of ``config.json``."""
    accepted = 0
    for value in OTHER_VALUES[name]:
        config = shape_of(family, **{name: value})
        if family.misfits(config, CAUSAL_LM):
            continue
        accepted += 1
        expected, found = effective(config), effective(read_back(family, config))
        for key in expected:
            assert key in TRAINING or found[key] == expected[key], key
    field = next(field for field in fields(GPTConfig) if field.name == name)
    refused = len(OTHER_VALUES[name]) - accepted
    # Without a claim, nothing but the default is accepted.
    assert name in family.claims or refused == sum(value != field.default for value in OTHER_VALUES[name])


@ALL_FAMILIES
def test_heads_have_different_names(family: Family) -> None:
    assert len({family.architecture(head) for head in (*HEADS, None)}) == 5
    assert CAUSAL_LM in family.heads
