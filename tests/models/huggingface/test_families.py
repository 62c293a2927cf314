"""Configurations that a model family supports: each field of ``GPTConfig`` is claimed or must have its default."""

from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from gpt_lightning.models import GPTConfig
from gpt_lightning.models.huggingface import why_not_huggingface
from gpt_lightning.models.huggingface.families import FAMILIES
from gpt_lightning.models.huggingface.families.family import NOT_NONE, TRAINING, Family
from gpt_lightning.models.huggingface.folder import effective_shape
from gpt_lightning.models.huggingface.heads import CAUSAL_LM, HEADS, SEQ2SEQ_LM
from gpt_lightning.models.huggingface.options import Options

SIZES: dict[str, tuple[Any, ...]] = {
    "vocab_size": (50, 51),
    "block_size": (32,),
    "n_layer": (3,),
    "n_head": (4,),
    "n_kv_head": (1, 2),
    "head_dim": (6, 8, 10),
    "n_embd": (16, 24, 28),
    "n_inner": (20, 30),
}
"""Values of fields that must be compatible with one another."""


def other_values(field: Field[Any]) -> tuple[Any, ...]:
    """Return several values that the type of a field allows."""
    hint: Any = get_type_hints(GPTConfig)[field.name]
    default: Any = field.default
    if field.name in SIZES:
        return SIZES[field.name]
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    values: list[Any] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            values += get_args(kind)
        elif kind is bool:
            values += [True, False]
        elif kind is int:
            values += [2, 3]
        elif kind is float:
            values += [0.5 * (default or 1.0), 0.75 * (default or 1.0)]
    return tuple(values)


OTHER_VALUES = {field.name: other_values(field) for field in fields(GPTConfig)}

ALL_FAMILIES = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)


def shape_of(family: Family, **changes: Any) -> GPTConfig:
    """Return a configuration of the first value that the family claims for each field, with changes."""
    claimed = {name: values[0] for name, values in family.claims.items() if isinstance(values, tuple)}
    claimed |= {name: 2 for name, values in family.claims.items() if values is NOT_NONE}
    scaling: dict[str, Any] = {"rope_original_block_size": 64} if "rope_factor" in changes else {}
    if changes.keys() & {"rope_type", "rope_attention_factor"}:
        scaling = {"rope_original_block_size": 64, "rope_factor": 2.0, "rope_type": "yarn"}
    sizes = {"vocab_size": 40, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16}
    return GPTConfig(**(sizes | claimed | scaling | changes))


def read_back(family: Family, config: GPTConfig) -> GPTConfig:
    """Return the configuration that the family reads from the ``config.json`` that it writes."""
    return family.read(Options(Path("config.json"), family.title, family.write(config, family.heads[0])))


def test_every_field_has_values_other_than_its_default() -> None:
    assert len(OTHER_VALUES) > 30
    for field in fields(GPTConfig):
        assert set(OTHER_VALUES[field.name]) - {field.default}, field.name


@ALL_FAMILIES
def test_claims_name_existing_fields(family: Family) -> None:
    names = {field.name for field in fields(GPTConfig)}
    assert set(family.claims) <= names
    for name in names - set(family.claims):
        default = next(field.default for field in fields(GPTConfig) if field.name == name)
        assert getattr(shape_of(family), name) == default
    assert family.misfits(shape_of(family), family.heads[0]) == []


@dataclass(frozen=True, kw_only=True)
class ExtendedConfig(GPTConfig):
    """Configuration with fields that no family claims."""

    new_flag: bool = False
    new_number: float | None = None
    new_factor: float = 1.0


@ALL_FAMILIES
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"new_flag": True}, "has no new_flag=true"),
        ({"new_number": 2.0}, "has no new_number=2.0"),
        ({"new_factor": 1.5}, "has no new_factor=1.5"),
    ],
    ids=str,
)
def test_new_field_is_never_exported_silently(family: Family, change: dict[str, Any], reason: str) -> None:
    neutral = ExtendedConfig(**vars(shape_of(family)))
    assert family.misfits(neutral, family.heads[0]) == []
    assert why_not_huggingface(neutral, family.heads[0], {}) is None
    changed = replace(neutral, **change)
    for each in FAMILIES:
        assert reason in each.misfits(changed, family.heads[0])
    for head in (*HEADS, SEQ2SEQ_LM):
        assert reason in str(why_not_huggingface(changed, head, {}))


@ALL_FAMILIES
@pytest.mark.parametrize("name", OTHER_VALUES)
def test_supported_values_survive_a_round_trip(family: Family, name: str) -> None:
    """Each value is either refused, or written to ``config.json`` and read back."""
    accepted = 0
    for value in OTHER_VALUES[name]:
        config = shape_of(family, **{name: value})
        if family.misfits(config, family.heads[0]):
            continue
        accepted += 1
        expected, found = effective_shape(config), effective_shape(read_back(family, config))
        for key in expected:
            assert key in TRAINING or found[key] == expected[key], key
    field = next(field for field in fields(GPTConfig) if field.name == name)
    refused = len(OTHER_VALUES[name]) - accepted
    # Without a claim, only the default is accepted.
    assert name in family.claims or refused == sum(value != field.default for value in OTHER_VALUES[name])


@ALL_FAMILIES
def test_heads_have_different_names(family: Family) -> None:
    assert len({family.architecture(head) for head in (*HEADS, SEQ2SEQ_LM, None)}) == 6
    assert (CAUSAL_LM in family.heads) != (SEQ2SEQ_LM in family.heads)
