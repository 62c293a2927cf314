"""Values of a run in layers, defaults < checkpoint < files < flags; each value knows where it came from.

The command line is read once: each file and then all flags, both without defaults, become ``Values``. What a checkpoint
says goes underneath as values, and jsonargparse completes and validates the result once (``parse_object``).

jsonargparse forces these detours:

- An argument of a class, such as ``--data.test``, can be parsed only where the class is known already. So the classes
  that a checkpoint names are given to the parser before it reads files and flags, and flags are read after all files.
- ``--trainer.callbacks+=`` appends to a list, so flags are parsed on top of the files' values and not alone. A value
  there comes from a flag if a flag names its key, or if it is not the value of the files.
- Required arguments may be spread over files and flags, but every ``parse_args`` validates. ``RunParser.parse_part``
  switches this off until all layers are merged.
- ``link_arguments`` needs a parser, so the links of the chosen classes are added between merging and completing.
- ``parse_args`` cannot tell a default from a value that somebody gave, so the defaults of a class are asked for
  (``parser.defaults_of``) where the checkpoint is compared with them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from jsonargparse import Namespace

from gpt_lightning.errors import InputError


class Origin(NamedTuple):
    """Origin of a value."""

    kind: Literal["default", "checkpoint", "file", "flag"]
    name: str
    """The path of the checkpoint or of the file, or the flag."""


class Value(NamedTuple):
    """A value of a configuration and its origin."""

    value: Any
    origin: Origin


Values = dict[str, Value]
"""Dotted key, such as ``model.init_args.backbone.n_layer``, to its value; mappings that are no group are values."""


def flatten(namespace: Namespace, origin: Origin) -> Values:
    """Return the values of a nested namespace, all from one origin."""
    return {key: Value(value, origin) for key, value in namespace.clone(with_meta=False).items()}


def nest(values: Values) -> Namespace:
    """Return values as the nested namespace that jsonargparse takes."""
    namespace = Namespace()  # type: ignore[no-untyped-call]
    for key, value in values.items():
        namespace[key] = value.value
    return namespace


def from_flags(given: Mapping[str, Any]) -> Values:
    """Return values that a caller gives in place of flags: ``{"trainer.max_steps": 5}``."""
    return {full_key(key): Value(value, Origin("flag", f"--{key}")) for key, value in given.items()}


def full_key(key: str) -> str:
    """Return the key of an argument in a configuration: ``model.init_args.lora.r`` for the flag's ``model.lora.r``."""
    part, _, rest = key.partition(".")
    is_argument = part in ("model", "data") and rest and rest.split(".")[0] not in ("class_path", "init_args")
    return f"{part}.init_args.{rest}" if is_argument else key


def flag_key(key: str) -> str:
    """Return the key of a configuration as a user writes it in a flag."""
    return key.replace(".init_args.", ".", 1)


def overlay(*layers: Values) -> Values:
    """Merge layers, of which later ones win; a value takes the place of a whole group and the other way round."""
    merged: Values = {}
    for layer in layers:
        merged = {key: value for key, value in merged.items() if not _is_replaced(key, layer)} | layer
    return merged


def _is_replaced(key: str, layer: Values) -> bool:
    return any(key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in layer)


class Merged(NamedTuple):
    """The values that hold, and a line for each that differs from what the user or the defaults say."""

    values: Values
    differences: list[str]


def merge(defaults: Values, checkpoint: Values, said: Values, is_fixed: Callable[[str], bool]) -> Merged:
    """Merge a checkpoint's values under the user's.

    A file may be for a model of another shape, for example the one that fine-tuning started from, so the checkpoint
    wins over files where a value is fixed. A flag is meant for this run, so it is refused there.

    Args:
        defaults: the values without the checkpoint and the user.
        checkpoint: its values.
        said: the user's values in files and flags.
        is_fixed: whether the weights of the checkpoint depend on the value of a key.

    Raises:
        InputError: a flag asks for another value where it is fixed.
    """
    values, differences = overlay(checkpoint, said), []
    for key, saved in checkpoint.items():
        name, given = flag_key(key), said.get(key)
        if given is None:
            if key not in defaults or saved.value != defaults[key].value:
                differences.append(f"from the checkpoint: {name}={saved.value}")
        elif given.value == saved.value:
            continue
        elif not is_fixed(key):
            differences.append(f"yours, not the checkpoint's: {name}={given.value} (it has {saved.value})")
        elif given.origin.kind == "flag":
            raise InputError(
                f"{name}={given.value}, but {saved.origin.name} was trained with {saved.value}; "
                "leave it out, or start without --ckpt_path"
            )
        else:
            differences.append(f"from the checkpoint: {name}={saved.value} (the configuration has {given.value})")
            values[key] = saved
    return Merged(values, differences)
