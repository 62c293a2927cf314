"""Settings of runs for reports: flat, plain, and without secrets."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from gpt_lightning.bounded_files import load_yaml, read_text
from gpt_lightning.errors import InputError

_MAX_BYTES: Final = 2**20
_MAX_PARTS: Final = 100_000
_SECRET: Final = re.compile(
    r"(^|[_-])(api_?key|access_?key|password|passwd|secret|credentials?|auth|token)$", re.IGNORECASE
)
"""Last parts of keys whose values are secret, but not ``max_new_tokens``."""
_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]+@")
"""User name and password in the address of a server."""
HIDDEN: Final = "(hidden)"


def read_settings(run: Path) -> dict[str, Any]:
    """Return the settings in the ``config.yaml`` of a run, by dotted key; empty without a readable file."""
    try:
        content = load_yaml(read_text(run / "config.yaml", "Restore it", _MAX_BYTES))
    except (InputError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return flatten(content) if isinstance(content, dict) and _is_small(content) else {}


def flatten(settings: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted key, with the keys of flags: ``model.lr`` for ``model.init_args.lr``."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = prefix if key == "init_args" and prefix in ("model.", "data.") else f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, name if name.endswith(".") else f"{name}.")
        else:
            flat[name] = value
    return flat


def _is_small(content: Any) -> bool:
    """Return whether a value has few parts, unlike YAML whose aliases repeat parts exponentially or without end."""
    waiting, parts = [content], 0
    while waiting and parts <= _MAX_PARTS:
        value = waiting.pop()
        parts += 1
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return parts <= _MAX_PARTS


def without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which passwords, keys and tokens of services are hidden, also in nested values."""
    return {key: _shown(key, value) for key, value in settings.items()}


def command_without_secrets(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command in which the values of secret options are hidden."""
    shown, hides_next = [], False
    for argument in arguments:
        name, separator, value = argument.partition("=")
        is_option = argument.startswith("-")
        if hides_next and not is_option:
            shown.append(HIDDEN)
        elif is_option and separator:
            shown.append(f"{name}={_shown(name, value)}")
        else:
            shown.append(_LOGIN.sub("", argument))
        hides_next = is_option and not separator and _is_secret(name)
    return shown


def _is_secret(key: str) -> bool:
    return _SECRET.search(key.rpartition(".")[2]) is not None


def _shown(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _shown(str(name), each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(key, each) for each in value]
    if _is_secret(key) and value not in (None, "", False):
        return HIDDEN
    return _LOGIN.sub("", value) if isinstance(value, str) else value
