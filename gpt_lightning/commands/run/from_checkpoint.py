"""What a checkpoint says about a run that goes on from it, is measured, or starts from its backbone."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning import data, tasks
from gpt_lightning.checkpoints.read import find_base
from gpt_lightning.commands.run.arguments import option
from gpt_lightning.data.labels import read_labels
from gpt_lightning.errors import InputError
from gpt_lightning.models.config import PER_TASK
from gpt_lightning.models.lora import LoRA
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

MAY_CHANGE = {f"backbone.{name}" for name in PER_TASK} - {"backbone.attention"} | {"lora.dropout"}
"""What of the configurations of the backbone and its adapters may change when a run goes on."""


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
    path = find_checkpoint(ckpt_path, "last" if arguments[0] == "fit" else "best")
    checkpoint = read_checkpoint(path)
    hparams = {"lora": asdict(LoRA()), **checkpoint["hyper_parameters"]}
    if path.is_dir() and (arguments[0] == "fit" or "task" not in hparams):
        raise InputError(
            f"{path} is a model, not a run to go on with or to measure; start with --model.init_from={path}"
        )
    task, labels, base = (hparams.pop(name, None) for name in ("task", "labels", "init_from"))
    classes: dict[str, dict[str, Any]] = {"model": {"class_path": task}}
    # Nothing else that a checkpoint names is imported; a model's folder names none, but what reads its task's batches.
    module = checkpoint.get("data", modules_for(task)[0])
    if module in data.__all__:
        classes["data"] = {"class_path": module}
    given = _parse(parser, arguments, classes, defaults=False)
    asked = given.model.class_path.rsplit(".", 1)[-1]
    if asked != task:
        raise InputError(
            f"{path} holds a {task}, but the configuration asks for a {asked}; "
            f"give the configuration of a {task}, or the checkpoint of a {asked}"
        )
    without = _parse(parser, arguments, classes, defaults=True)
    said = given.model.get("init_args", {})
    # Who asks for nothing and measures needs not be told all that a model is.
    shape = _compare(hparams, said, without.model.init_args, arguments, path) if said or arguments[0] == "fit" else []
    underneath = classes | {"model": {"class_path": task, "init_args": hparams}}
    result = [arguments[0], "--config", as_yaml(underneath), *arguments[1:], f"--ckpt_path={path}"]
    # The weights are in the checkpoint, wherever they came from at first; unless it holds adapters.
    init_from = "null" if base is None else _base(path, base, arguments, said.get("init_from"))
    result += [f"--model.init_from={init_from}", *shape]
    if labels is not None:
        result += _labels(labels, given.data.get("init_args", {}).get("labels"), path)
    if "tokenizer" in checkpoint:
        asked = given.data.get("init_args", {}).get("tokenizer")
        if asked is not None and not _is_made(asked):
            _check_tokenizer(asked, Tokenizer.from_json(checkpoint["tokenizer"]), path)
        else:
            result.append(_tokenizer_flag(path, checkpoint["tokenizer"], without.data))
    return result


def _base(path: Path, saved: str, arguments: list[str], configured: str | None) -> str:
    """Where the weights are that the adapters in a checkpoint were trained beside.

    Args:
        path: the checkpoint.
        saved: where they were then.
        arguments: of which a flag is meant, as the weights may have moved.
        configured: what the user says, in files and flags.

    Raises:
        InputError: there is nothing.
    """
    init_from = option(arguments, "--model.init_from") or saved
    if configured not in (None, init_from):
        print(f"from the checkpoint: model.init_from={init_from} (the configuration has {configured})")
    elif init_from != saved:
        print(f"yours, not the checkpoint's: model.init_from={init_from} (it has {saved})")
    return find_base(path, init_from, "say where with --model.init_from (evaluate: --init_from)")


def _compare(
    hparams: dict[str, Any], given: Namespace, without: Namespace, arguments: list[str], path: Path
) -> list[str]:
    """Print where the checkpoint and the user differ; the flags that give the model the checkpoint's shape.

    A file may be for a model of another size, as where fine-tuning started from a larger backbone; a flag is meant.

    Args:
        hparams: the checkpoint's.
        given: what the user says, in files and flags.
        without: what would hold without the checkpoint.
        arguments: the flags.
        path: the checkpoint.

    Raises:
        InputError: a flag asks for another shape.
    """
    yours, otherwise = dict(_flatten(given)), dict(_flatten(without))
    flags = []
    for key, value in _flatten(hparams):
        mine = yours.get(key)
        # A run's own config.yaml has null where the size came from the tokenizer.
        if key not in yours or (key == "backbone.vocab_size" and mine is None):
            if value != otherwise.get(key):
                print(f"from the checkpoint: model.{key}={value}")
        elif mine != value and (not key.startswith(("backbone.", "lora.")) or key in MAY_CHANGE):
            print(f"yours, not the checkpoint's: model.{key}={mine} (it has {value})")
        elif mine != value:
            if any(argument.split("=")[0] == f"--model.{key}" for argument in arguments):
                raise InputError(
                    f"model.{key}={mine}, but {path} was trained with {value}; "
                    "leave it out, or start without --ckpt_path"
                )
            print(f"from the checkpoint: model.{key}={value} (the configuration has {mine})")
            flags.append(f"--model.{key}={as_yaml(value)}")
    return flags


def with_backbone(arguments: list[str], config: Namespace) -> list[str]:
    """The arguments of ``fit`` with the shape of the backbone that training starts from, and its tokenizer, after them.

    Prints what that changes.

    Args:
        arguments: the subcommand's name and its options.
        config: what they mean.

    Raises:
        InputError: the checkpoint is damaged, or the user asks for another tokenizer.
    """
    path = find_checkpoint(config.model.init_args.init_from)
    checkpoint = read_checkpoint(path)
    result, differences = list(arguments), []
    for key, value in checkpoint["hyper_parameters"]["backbone"].items():
        mine = config.model.init_args.backbone.get(key)
        # A model of others reads far more than most rows are long.
        shorter = key == "block_size" and path.is_dir() and mine is not None and mine < value
        if mine != value and key not in PER_TASK and not shorter:
            result.append(f"--model.backbone.{key}={as_yaml(value)}")
            if mine is not None:
                differences.append(f"{key}={value} (not {mine})")
    if differences:
        print(f"the backbone's shape is that of {path}: {', '.join(differences)}")
    if "tokenizer" in checkpoint:
        tokenizer, mine = Tokenizer.from_json(checkpoint["tokenizer"]), config.data.init_args.get("tokenizer")
        if mine is None:  # a data module of the user's own, which knows no tokenizer
            return result
        if _is_made(mine):
            print(f"the tokenizer is that of {path}: {tokenizer.name}")
        else:
            _check_tokenizer(mine, tokenizer, path)
        result.append(_tokenizer_flag(path, checkpoint["tokenizer"], config.data))
    return result


class _Quoting(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes every string: what is one to YAML, such as 1e5, is a number to the parser."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')


_Quoting.add_representer(str, _Quoting.represent_str)


def modules_for(task: str) -> list[str]:
    """The data modules that make what a task of ours reads; any one for a task that is not."""
    batch = getattr(getattr(tasks, task, None), "batch", None)
    return [name for name in data.__all__ if batch is None or getattr(data, name).batch is batch]


def as_yaml(value: Any) -> str:
    """A value in one line, as the parser reads it again: JSON's way with emoji is not YAML's."""
    dumper = _Quoting if isinstance(value, dict | list) else yaml.SafeDumper
    text: str = yaml.dump(value, Dumper=dumper, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n...\n").strip()


def _is_made(tokenizer: str) -> bool:
    """Whether a tokenizer is made from the training text: then, with a checkpoint, it was, and is not made again."""
    return tokenizer == "characters" or tokenizer.startswith("bpe:")


def _check_tokenizer(asked: str, trained_with: Tokenizer, path: Path) -> None:
    """Refuse a tokenizer other than the checkpoint's.

    Raises:
        InputError: it is, or it cannot be loaded.
    """
    tokenizer = bytes_tokenizer() if asked == "bytes" else load_tokenizer(asked)
    if tokenizer.hash != trained_with.hash:
        raise InputError(
            f"--data.tokenizer={asked} is {tokenizer.name}, but {path} was trained with {trained_with.name}; "
            "leave it out to use the checkpoint's"
        )


def _labels(saved: list[str], given: str | list[str] | None, path: Path) -> list[str]:
    """The checkpoint's labels, as a flag.

    Raises:
        InputError: the user gave others.
    """
    if given is not None and list(read_labels(given)) != saved:
        raise InputError(f"--data.labels are {given}, but {path} was trained with {saved}; leave them out")
    return [f"--data.labels={as_yaml(saved)}"]


def _parse(parser: LightningArgumentParser, arguments: list[str], base: dict[str, Any], defaults: bool) -> Namespace:
    config = parser.parse_args([arguments[0], "--config", as_yaml(base), *arguments[1:]], defaults=defaults)
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


def _tokenizer_flag(checkpoint: Path, tokenizer_json: str, data_config: Namespace) -> str:
    """The ``tokenizer.json`` of the checkpoint's run; one for a checkpoint that stands alone is put in the cache."""
    tokenizer = Tokenizer.from_json(tokenizer_json)
    beside = checkpoint.resolve().parent.parent / "tokenizer.json"
    if beside.is_file() and load_tokenizer(str(beside)).hash == tokenizer.hash:
        return f"--data.tokenizer={beside}"
    cache = Path(data_config.init_args.get("cache_dir", "~/.cache/gpt_lightning")).expanduser()
    file = cache / "tokenizers" / f"{tokenizer.hash}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(file)
    return f"--data.tokenizer={file}"
