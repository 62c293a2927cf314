"""Values of a run in layers, defaults < checkpoint < files < flags, each with its origin.

The command line is read once: first each file and then all flags become ``Values``, without defaults. The values of a
checkpoint are merged under them. Then jsonargparse fills in defaults and validates the result once (``parse_object``).

jsonargparse makes this order necessary:

- An argument of a class, such as ``--data.test``, can be parsed only after its class is known. So the parser gets the
  classes of a checkpoint before it reads files and flags, and it reads all files before the flags.
- ``--trainer.callbacks+=`` appends to a list, so flags are parsed on top of the values of the files. A value then comes
  from a flag if a flag names its key, or if it differs from the value of the files.
- Files and flags may each give some of the required arguments, but every ``parse_args`` validates.
  ``RunParser.parse_part`` disables validation until all layers are merged.
- ``link_arguments`` needs a parser, so the links of the chosen classes are added after merging and before filling in.
- ``parse_args`` does not mark defaults, so ``parser.defaults_of`` reads them from the class for comparison with a
  checkpoint.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from jsonargparse import Namespace

from gpt_lightning.errors import InputError


class Origin(NamedTuple):
    """Origin of a value."""

    kind: Literal["default", "checkpoint", "file", "flag"]
    name: str
    """Path of the checkpoint or the file, name of the flag, or class path for a default."""


class Value(NamedTuple):
    """Value of a configuration and its origin."""

    value: Any
    origin: Origin


Values = dict[str, Value]
"""Dotted key, such as ``model.init_args.backbone.n_layer``, -> value. A dict that is not a group is one value."""


def flatten(namespace: Namespace, origin: Origin) -> Values:
    """Return the values of a nested namespace, all from one origin."""
    return {key: Value(value, origin) for key, value in namespace.clone(with_meta=False).items()}


def nest(values: Values) -> Namespace:
    """Return values as a nested namespace for jsonargparse."""
    namespace = Namespace()  # type: ignore[no-untyped-call]
    for key, value in values.items():
        namespace[key] = value.value
    return namespace


def from_flags(given: Mapping[str, Any]) -> Values:
    """Return values that a Python caller gives in place of flags, such as ``{"trainer.max_steps": 5}``."""
    return {full_key(key): Value(value, Origin("flag", f"--{key}")) for key, value in given.items()}


def full_key(key: str) -> str:
    """Return the key in a configuration for the key of a flag: ``model.init_args.lora.r`` for ``model.lora.r``."""
    part, _, rest = key.partition(".")
    is_argument = part in ("model", "data") and rest and rest.split(".")[0] not in ("class_path", "init_args")
    return f"{part}.init_args.{rest}" if is_argument else key


def flag_key(key: str) -> str:
    """Return the key of a flag for a key in a configuration."""
    return key.replace(".init_args.", ".", 1)


def overlay(*layers: Values) -> Values:
    """Merge layers; later ones win. A value replaces a whole group, and a group replaces a value."""
    merged: Values = {}
    for layer in layers:
        merged = {key: value for key, value in merged.items() if not _is_replaced(key, layer)} | layer
    return merged


def _is_replaced(key: str, layer: Values) -> bool:
    return any(key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in layer)


class Merged(NamedTuple):
    """Merged values, and a line for each that the user may not expect."""

    values: Values
    differences: list[str]


def merge(defaults: Values, checkpoint: Values, user: Values, is_fixed: Callable[[str], bool]) -> Merged:
    """Merge the values of a checkpoint under the user's.

    Weights depend on some values, such as the number of layers. For these values, the checkpoint overrides the files: a
    file may describe a model of another shape, for example the base model of the fine-tuning run. A flag is meant for
    this run, so a flag with a different value is an error.

    Args:
        defaults: the values used where neither the checkpoint nor the user gives one.
        checkpoint: the values of the checkpoint.
        user: the values in the user's files and flags.
        is_fixed: whether the weights of the checkpoint depend on the value of a key.

    Raises:
        InputError: a flag gives a different value for a key that is fixed.
    """
    values, differences = overlay(checkpoint, user), []
    for key, saved in checkpoint.items():
        name, given = flag_key(key), user.get(key)
        if given is None:
            if key not in defaults or saved.value != defaults[key].value:
                differences.append(f"from the checkpoint: {name}={saved.value}")
        elif given.value == saved.value:
            continue
        elif not is_fixed(key):
            differences.append(f"changed: {name}={given.value} (the checkpoint has {saved.value})")
        elif given.origin.kind == "flag":
            raise InputError(
                f"{name}={given.value}, but {saved.origin.name} was trained with {saved.value}. "
                "Leave the option out, or start a new run without --ckpt_path"
            )
        else:
            differences.append(f"from the checkpoint: {name}={saved.value} (the configuration has {given.value})")
            values[key] = saved
    return Merged(values, differences)
