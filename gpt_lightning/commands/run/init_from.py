"""Shape and tokenizer of a pretrained backbone, merged with the values of the user."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpt_lightning.checkpoints.read import encoder_refusal
from gpt_lightning.commands.run.classes import class_at
from gpt_lightning.commands.run.resume import BACKBONE, INIT_FROM, MODEL, TOKENIZER, class_defaults
from gpt_lightning.commands.run.saved_tokenizer import is_built, refuse_other_tokenizer, tokenizer_file, tokenizer_in
from gpt_lightning.commands.run.value_layers import Origin, Value, Values, flag_key, overlay
from gpt_lightning.errors import InputError
from gpt_lightning.models.config import PER_TASK
from gpt_lightning.printable import printable
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from gpt_lightning.tasks.saving import class_path

LAYOUT = "data.init_args.layout"

_COMPUTATION = ("attention", "dropout", "attention_dropout")
"""Fields of the backbone that change the output or the training of a pretrained model, but not its shape."""


def with_backbone(user: Values, allowed: Sequence[str]) -> Values:
    """Return the user's values with the shape and the tokenizer of the backbone that ``init_from`` names.

    The function prints the differences.

    Args:
        user: the user's values.
        allowed: packages of the user, from which the checkpoint may load its task.

    Raises:
        InputError: the checkpoint is damaged, or the user gives another tokenizer.
    """
    path = find_checkpoint(user[INIT_FROM].value)
    checkpoint = read_checkpoint(path, allowed)
    defaults = class_defaults(user)
    effective = overlay(defaults, user)
    shape = _for_class(checkpoint["hyper_parameters"]["backbone"], effective, path)
    pretrained, differences = dict(_shape(shape, effective, path)), []
    for key, value in pretrained.items():
        if key in effective and effective[key].value is not None:
            differences.append(f"{key.removeprefix(f'{BACKBONE}.')}={value} (not {effective[key].value})")
    if differences:
        print(printable(f"shape of the backbone from {path}: {', '.join(differences)}"))
    pretrained |= _head_defaults(user, effective, checkpoint["hyper_parameters"])
    layout = _saved_layout(effective, checkpoint["hyper_parameters"])
    pretrained |= {key: value for key, value in layout.items() if key not in user}
    _print_changes(checkpoint["hyper_parameters"], overlay(effective, _as_checkpoint(pretrained, path)), path)
    tokenizer = tokenizer_in(path, checkpoint)
    if tokenizer is not None and TOKENIZER in effective:
        if is_built(effective[TOKENIZER].value):
            print(printable(f"tokenizer from {path}: {tokenizer.name}"))
        else:
            refuse_other_tokenizer(effective[TOKENIZER].value, tokenizer, path)
        pretrained[TOKENIZER] = tokenizer_file(path, tokenizer, effective)
    return overlay(user, _as_checkpoint(pretrained, path))


def _as_checkpoint(values: dict[str, Any], path: Path) -> Values:
    origin = Origin("checkpoint", str(path))
    return {key: Value(value, origin) for key, value in values.items()}


def _head_defaults(user: Values, effective: Values, saved: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of the task for a causal backbone, without the arguments that the user gives.

    If the run continues a head of the same task, that head keeps its own values.
    """
    if f"{BACKBONE}.attention" not in effective or effective[f"{BACKBONE}.attention"].value != "causal":
        return {}
    task = class_at(effective["model.class_path"].value)
    defaults = dict(task.causal_defaults)
    if saved.get("task") == class_path(task):
        defaults |= {name: saved[name] for name in defaults.keys() & saved.keys()}
    return {key: value for name, value in defaults.items() if (key := f"{MODEL}.{name}") not in user}


def _saved_layout(effective: Values, saved: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the layout that the data module has and the head was trained with; none for a new head."""
    if saved.get("task") != class_path(class_at(effective["model.class_path"].value)):
        return {}
    layout = saved.get("layout") or {}
    return {key: value for name, value in layout.items() if (key := f"{LAYOUT}.{name}") in effective}


def _print_changes(hparams: dict[str, Any], effective: Values, path: Path) -> None:
    """Print the settings of a pretrained model that the run changes, although the weights were trained with them."""
    saved = {f"{BACKBONE}.{name}": hparams["backbone"].get(name) for name in _COMPUTATION}
    saved |= {f"{MODEL}.pooling": hparams["pooling"]} if "pooling" in hparams else {}
    saved |= _saved_layout(effective, hparams)
    changes = [
        f"{flag_key(key)}={effective[key].value} (not {value})"
        for key, value in saved.items()
        if value is not None and key in effective and effective[key].value != value
    ]
    if changes:
        print(printable(f"changed in the pretrained model {path}: {', '.join(changes)}"))


def _for_class(backbone: dict[str, Any], effective: Values, path: Path) -> dict[str, Any]:
    """Return the shape of a pretrained backbone for the task.

    In an encoder-decoder, a model without an encoder fills both sides.

    Raises:
        InputError: the pretrained model is an encoder-decoder, but the task has no encoder.
    """
    backbone_class = getattr(class_at(effective["model.class_path"].value), "backbone_class", None)
    has_encoder = getattr(backbone_class, "has_encoder", False)
    if backbone.get("n_encoder_layer") is not None:
        if not has_encoder:
            raise InputError(encoder_refusal(str(path)))
        return backbone
    new = {"n_encoder_layer", "share_embeddings"}
    shape = {name: value for name, value in backbone.items() if name not in new}
    return shape | ({"n_encoder_layer": backbone["n_layer"]} if has_encoder else {})


def _shape(backbone: dict[str, Any], effective: Values, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a pretrained backbone that differ from the user's."""
    for name, value in backbone.items():
        key = f"{BACKBONE}.{name}"
        configured = effective[key].value if key in effective else None
        # A shorter block than that of a pretrained model saves time, because most rows are short.
        is_shorter = name == "block_size" and path.is_dir() and configured is not None and configured < value
        if configured != value and name not in PER_TASK and not is_shorter:
            yield key, value
