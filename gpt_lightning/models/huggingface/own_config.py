"""``gpt_lightning.json``, our configuration in a model folder, with checksums of the weight files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from gpt_lightning.atomic_files import json_sha256, sha256
from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.tensor_files import read_json, write_json
from gpt_lightning.models.plain_config import backbone_config

OWN_CONFIG: Final = "gpt_lightning.json"
_FORMAT: Final = 1


class OwnConfig(NamedTuple):
    """Content of ``gpt_lightning.json``.

    Attributes:
        config: the configuration of the backbone.
        hparams: hyper-parameters of the task, including ``backbone``.
        extra_state: a number that the task stores in addition to its weights, or None.
        files: names of the weight files -> SHA-256, since safetensors files have no checksums.
    """

    config: GPTConfig
    hparams: dict[str, Any]
    extra_state: float | None
    files: dict[str, str]


def write_own_config(path: Path, hparams: Mapping[str, Any], extra_state: float | None, files: Iterable[Path]) -> None:
    """Write ``gpt_lightning.json``.

    Args:
        path: path of the file.
        hparams: hyper-parameters of the task.
        extra_state: a number that the task stores in addition to its weights, or None.
        files: the weight files, for their checksums.
    """
    content = {"format": _FORMAT, "hparams": dict(hparams), "extra_state": extra_state}
    content["files"] = {file.name: sha256(file) for file in files}
    write_json(path, content | {"sha256": json_sha256(content)})


def check_files(files: Mapping[str, str], found: Iterable[Path]) -> None:
    """Check the weight files ``found`` against the checksums in ``files``; empty ``files`` skip the check.

    Raises:
        InputError: a file is damaged, or was changed by another program.
    """
    for path in found if files else ():
        if files.get(path.name) != sha256(path):
            raise InputError(
                f"{path}: damaged: its sha256 differs from the one in {OWN_CONFIG}. Copy or download it again, "
                f"or delete {OWN_CONFIG} if another program wrote the weights"
            )


def read_own_config(path: Path) -> OwnConfig:
    """Read ``gpt_lightning.json``.

    Raises:
        InputError: the file is damaged, or has content that ``write_own_config`` does not write.
    """
    content = read_json(path)
    digest, files = content.pop("sha256", None), content.get("files")
    if digest != json_sha256(content):
        raise InputError(f"{path}: damaged: its content does not match its sha256. Copy or download it again")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise InputError(
            f"{path}: damaged: 'files' does not list the checksums of the weight files. Copy or download it again"
        )
    hparams, extra_state = content.get("hparams"), content.get("extra_state")
    if content.get("format") != _FORMAT or not isinstance(hparams, dict) or type(hparams.get("task")) is not str:
        raise InputError(
            f"{path}: not written by this version of gpt-lightning. Export the model again with this version"
        )
    if extra_state is not None and type(extra_state) is not float:
        raise InputError(f"{path}: extra_state={extra_state!r} must be a number. Export the model again")
    for name, value in hparams.items():
        if not _is_plain(value):
            raise InputError(
                f"{path}: hyper-parameter {name!r} must be a string, number, boolean, null, list of strings or "
                "integers, or mapping of these or of lists of numbers. Export the model again"
            )
    config = backbone_config(hparams.get("backbone"), f"{path}: hparams.backbone", "Export the model again")
    return OwnConfig(config, hparams, extra_state, files)


def _is_plain(value: Any) -> bool:
    """Return True for scalars, lists of strings or integers, and mappings of scalars or of lists of integers."""
    if isinstance(value, list):
        return all(type(item) in (str, int) for item in value)
    if isinstance(value, dict):
        return all(
            all(type(each) is int for each in item) if isinstance(item, list) else not isinstance(item, dict)
            for item in value.values()
        )
    return True
