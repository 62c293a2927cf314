"""Settings of runs for reports: flat, plain, and without secrets."""

import json
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
    r"(^|[_-])((api|access|private|secret)[_-]?(key|token)|password|passwd|passphrase|secret|credentials?"
    r"|auth|authorization|token)$",
    re.IGNORECASE,
)
"""Last parts of keys whose values are secret, but not ``max_new_tokens``."""
_SPECIAL_TOKEN: Final = re.compile(r"^(bos|cls|eos|mask|pad|sep|unk)_token$")
"""Names of tokenizer settings, which are no secrets."""
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


def setting_text(value: Any) -> str:
    """Return the text of a setting as YAML writes it, such as ``null`` and ``true``."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which passwords, keys and tokens of services are hidden, also in nested values."""
    return {key: _hide_secrets(key, value) for key, value in settings.items()}


def command_without_secrets(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command in which the values of secret options are hidden, also in inline YAML."""
    shown, name = [], ""
    for argument in arguments:
        if not argument.startswith("-"):
            shown.append(_shown_text(name, argument))
            continue
        name, separator, value = argument.partition("=")
        shown.append(f"{name}={_shown_text(name, value)}" if separator else argument)
        name = "" if separator else name
    return shown


def _shown_text(option: str, text: str) -> str:
    """Return the text of a value on the command line without secrets; it may be JSON or YAML of nested values."""
    try:
        content = load_yaml(text)
    except (InputError, yaml.YAMLError, ValueError, RecursionError):
        content = text
    if not isinstance(content, Mapping | list):
        return str(_hide_secrets(option, text))
    if not _is_small(content):
        return HIDDEN
    shown = _hide_secrets(option, content)
    return text if shown == content else json.dumps(shown, ensure_ascii=False, default=str)


def _is_secret(key: str) -> bool:
    name = key.rpartition(".")[2].lstrip("-").rstrip("+")
    return _SECRET.search(name) is not None and _SPECIAL_TOKEN.search(name) is None


def _hide_secrets(key: str, value: Any) -> Any:
    if _is_secret(key) and value:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: _hide_secrets(str(name), each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hide_secrets(key, each) for each in value]
    return _LOGIN.sub("", value) if isinstance(value, str) else value
