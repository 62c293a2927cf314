"""Generation settings of a published model: ``generation_config.json``, and the token ids in ``config.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.bounded_files import read_json_object

GENERATION_CONFIG: Final = "generation_config.json"
_MODEL_CONFIG: Final = "config.json"
_MAX_BYTES: Final = 2**20
"""Size limit of a file, far above that of any published one. Checkpoints contain its content."""
_TOKEN_IDS: Final = ("bos_token_id", "eos_token_id")


def load_generation_config(folder: Path) -> dict[str, Any]:
    """Return the content of ``generation_config.json``, with the token ids of ``config.json`` where it has none.

    Args:
        folder: model folder; missing files are empty.

    Raises:
        InputError: a file is damaged.
    """
    return generation_ids(_read(folder / _MODEL_CONFIG)) | _read(folder / GENERATION_CONFIG)


def save_generation_config(config: Mapping[str, Any], folder: Path) -> None:
    """Write ``generation_config.json`` into a folder atomically."""
    with atomic_write(folder / GENERATION_CONFIG) as file:
        file.write(json.dumps(dict(config), indent=2).encode() + b"\n")


def generation_ids(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids of the tokens that start and end texts, each an id, a list or null, which the setting may lack."""
    return {name: config[name] for name in _TOKEN_IDS if name in config}


def token_ids(config: Mapping[str, Any], name: str) -> list[int]:
    """Return the token ids of a setting, which is an id, a list of ids, or null.

    Args:
        config: content of a ``generation_config.json``.
        name: name of the setting, such as ``eos_token_id``.
    """
    value = config.get(name)
    return [each for each in (value if isinstance(value, list) else [value]) if type(each) is int and each >= 0]


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path, "Download it again", _MAX_BYTES) if path.exists() else {}
