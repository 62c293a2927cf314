"""``gpt_lightning.json``, our configuration in a model folder, with checksums of the weight files."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from gpt_lightning.atomic_files import json_sha256, sha256
from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.tensor_files import read_json, write_json

OWN: Final = "gpt_lightning.json"
_FORMAT: Final = 1


class Own(NamedTuple):
    """What the file says."""

    config: GPTConfig
    hparams: dict[str, Any]
    extra_state: float | None
    """The number that a task keeps beside its weights."""
    files: dict[str, str]
    """The files of the weights and the sha256 of each, which safetensors do not have."""


def write_own(path: Path, hparams: Mapping[str, Any], extra_state: float | None, files: Iterable[Path]) -> None:
    """Write the hyper-parameters of a task, the number that it keeps beside its weights, and what those files hold."""
    content = {"format": _FORMAT, "hparams": dict(hparams), "extra_state": extra_state}
    content["files"] = {file.name: sha256(file) for file in files}
    write_json(path, content | {"sha256": json_sha256(content)})


def check_files(files: Mapping[str, str], found: Iterable[Path]) -> None:
    """Compare weights with what was written; without ``files`` nothing is known of them.

    Raises:
        InputError: a file is damaged, or was changed by somebody else.
    """
    for path in found if files else ():
        if files.get(path.name) != sha256(path):
            raise InputError(
                f"{path}: damaged: its sha256 is not the one in {OWN}; delete that if another program wrote the weights"
            )


def read_own(path: Path) -> Own:
    """What ``write_own`` has written.

    Raises:
        InputError: it is damaged, or holds anything that ``write_own`` would not write.
    """
    content = read_json(path)
    digest, files = content.pop("sha256", None), content.get("files")
    if digest != json_sha256(content):
        raise InputError(f"{path}: damaged: its checksum differs")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise InputError(f"{path}: says nothing of the files of its weights")
    hparams, extra_state = content.get("hparams"), content.get("extra_state")
    if content.get("format") != _FORMAT or not isinstance(hparams, dict) or type(hparams.get("task")) is not str:
        raise InputError(f"{path}: not written by this version of gpt-lightning")
    if extra_state is not None and type(extra_state) is not float:
        raise InputError(f"{path}: extra_state={extra_state!r} must be a number")
    for name, value in hparams.items():
        if not _is_plain(value):
            raise InputError(f"{path}: hyper-parameter {name!r} is no plain value")
    return Own(_shape(path, hparams.get("backbone")), hparams, extra_state, files)


def _shape(path: Path, values: Any) -> GPTConfig:
    hints = get_type_hints(GPTConfig)
    names = {field.name for field in fields(GPTConfig)}
    if not isinstance(values, dict) or not values.get("vocab_size"):
        raise InputError(f"{path}: says no backbone with its vocab_size")
    for name, value in values.items():
        if name not in names or not _fits(value, hints[name]):
            raise InputError(f"{path}: backbone.{name}={value!r} is none that a backbone has")
    try:
        return GPTConfig(**values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain ``value`` is of the type ``hint``; a whole number is a float too."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return type(value) is str and value in get_args(hint)
    return type(value) is hint or (hint is float and type(value) is int)


def _is_plain(value: Any) -> bool:
    """Scalars, lists of strings, and mappings of scalars: what checkpoints hold too."""
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    if isinstance(value, dict):
        return not any(isinstance(item, list | dict) for item in value.values())
    return True
