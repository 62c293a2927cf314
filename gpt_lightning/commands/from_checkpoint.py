"""What a checkpoint says about a run, underneath what the user says: flags > YAML > checkpoint."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.data.tokenizer import Tokenizer
from gpt_lightning.errors import InputError
from gpt_lightning.training.checkpoint import find_checkpoint, read_checkpoint

MAY_CHANGE = ("backbone.dropout",)
"""What of the backbone's configuration does not shape its weights."""


def with_checkpoint(parser: LightningArgumentParser, arguments: list[str], ckpt_path: str) -> list[str]:
    """The arguments of a subcommand with the checkpoint's hyper-parameters put before them, where later ones win.

    Prints what the checkpoint changes, and what it does not because the user said otherwise.

    Args:
        parser: of all subcommands.
        arguments: the subcommand's name and its options.
        ckpt_path: the checkpoint, or the folder of a run.

    Raises:
        InputError: the checkpoint is damaged, of another task, or of another shape than the user asks for.
    """
    # Training goes on from where it ended; everything else wants the best there is.
    path = find_checkpoint(ckpt_path, ("last", "best") if arguments[0] == "fit" else ("best", "last"))
    checkpoint = read_checkpoint(path)
    hparams = dict(checkpoint["hyper_parameters"])
    task = hparams.pop("task")
    classes = {"model": {"class_path": task}, "data": {"class_path": checkpoint.get("data", "LanguageModeling")}}
    given = _parse(parser, arguments, classes, defaults=False)
    asked = given.model.class_path.rsplit(".", 1)[-1]
    if asked != task:
        raise InputError(
            f"{path} holds a {task}, but the configuration asks for a {asked}; "
            f"give the configuration of a {task}, or the checkpoint of a {asked}"
        )
    saved = dict(_flatten(hparams))
    yours = dict(_flatten(given.model.get("init_args", {})))
    otherwise = dict(_flatten(_parse(parser, arguments, classes, defaults=True).model.init_args))
    for key, value in saved.items():
        mine = yours.get(key)
        if mine is None and value != otherwise.get(key):
            print(f"from the checkpoint: model.{key}={value}")
        elif mine is not None and mine != value:
            if key.startswith("backbone.") and key not in MAY_CHANGE:
                raise InputError(
                    f"model.{key}={mine}, but {path} was trained with {value}; "
                    "leave it out, or start without --ckpt_path"
                )
            print(f"yours, not the checkpoint's: model.{key}={mine} (it has {value})")
    base: dict[str, Any] = {"model": {"class_path": task, "init_args": hparams}, "data": classes["data"]}
    result = [arguments[0], "--config", json.dumps(base), *arguments[1:], f"--ckpt_path={path}"]
    tokenizer = given.data.get("init_args", {}).get("tokenizer")
    if "tokenizer" in checkpoint and (tokenizer is None or tokenizer == "characters" or tokenizer.startswith("bpe:")):
        # One that is made from the training text was made then: it is not made again.
        result.append(f"--data.tokenizer={_tokenizer_file(path, checkpoint['tokenizer'])}")
    return result


def _parse(parser: LightningArgumentParser, arguments: list[str], base: dict[str, Any], defaults: bool) -> Namespace:
    config = parser.parse_args([arguments[0], "--config", json.dumps(base), *arguments[1:]], defaults=defaults)
    chosen = config[arguments[0]]
    assert isinstance(chosen, Namespace)
    return chosen


def _flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys."""
    for key, value in vars(values).items() if isinstance(values, Namespace) else values.items():
        if isinstance(value, dict | Namespace):
            yield from _flatten(value, f"{prefix}{key}.")
        elif not key.startswith("__"):
            yield f"{prefix}{key}", value


def _tokenizer_file(checkpoint: Path, tokenizer_json: str) -> Path:
    """The ``tokenizer.json`` of the checkpoint's run; a checkpoint that stands alone gets one beside it."""
    tokenizer = Tokenizer.from_json(tokenizer_json)
    for folder in (checkpoint.resolve().parent.parent, checkpoint.resolve().parent):
        file = folder / "tokenizer.json"
        if file.is_file() and Tokenizer.from_json(file.read_text()).hash == tokenizer.hash:
            return file
    file = checkpoint.resolve().with_suffix(".tokenizer.json")
    tokenizer.save(file)
    return file
