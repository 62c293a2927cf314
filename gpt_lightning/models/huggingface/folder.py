"""Configuration of the model in a model folder, without its weights."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families import FAMILIES
from gpt_lightning.models.huggingface.families.family import Family
from gpt_lightning.models.huggingface.heads import HuggingFaceHead
from gpt_lightning.models.huggingface.options import Options
from gpt_lightning.models.huggingface.own_config import OWN, read_own
from gpt_lightning.models.huggingface.tensor_files import read_json, stored_tensors

CONFIG: Final = "config.json"


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """What a folder holds, but for its weights.

    Attributes:
        folder: where it is.
        family: the model family of Hugging Face; None if the folder is in our own format alone.
        head: the head of Hugging Face's that ``config.json`` names; None for a backbone alone, or without that file.
        config: the backbone's shape.
        hparams: the task's hyper-parameters: all of them from ``gpt_lightning.json``, or ``backbone`` and those that
            ``config.json`` holds. Plain values, but not checked against the task's signature.
        token_ids: ``pad_token_id``, ``bos_token_id`` and ``eos_token_id`` as far as ``config.json`` says.
        extra_state: the one number that a task keeps beside its weights, or None.
        files: the files of the weights and the sha256 of each, as far as they are known.
    """

    folder: Path
    family: Family | None
    head: HuggingFaceHead | None
    config: GPTConfig
    hparams: dict[str, Any]
    token_ids: dict[str, int]
    extra_state: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        """The task's class as ``gpt_lightning.json`` names it; None without that file."""
        return self.hparams.get("task")

    @property
    def labels(self) -> list[str] | None:
        """The labels' names in the order of the head's outputs, where it has any."""
        return self.hparams.get("labels")


def is_model_folder(folder: Path) -> bool:
    """Whether ``folder`` says that it is a model."""
    return (folder / CONFIG).is_file() or (folder / OWN).is_file()


def read_config(folder: Path) -> Pretrained:
    """What ``folder`` holds. No weight is read, nothing is run.

    Raises:
        InputError: it is no such folder, has options that we have no equal of, weights that are pickles, or two
            configurations that disagree.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not is_model_folder(folder):
        raise InputError(f"{folder}: has neither {CONFIG} nor {OWN}, so it is no model")
    theirs = _read_theirs(folder) if (folder / CONFIG).is_file() else None
    if not (folder / OWN).is_file():
        assert theirs is not None
        _check_size(theirs.config, folder)
        return theirs
    own = read_own(folder / OWN)
    config, hparams, _, files = own
    _check_size(config, folder)
    if theirs is None:
        return Pretrained(
            folder=folder,
            family=None,
            head=None,
            config=config,
            hparams=hparams,
            token_ids={},
            extra_state=own.extra_state,
            files=files,
        )
    said = {**theirs.hparams, **effective(theirs.config)}
    ours = {**hparams, **effective(config)}
    for key in sorted((said.keys() & ours.keys()) - {"backbone", "dropout", "attention_dropout"}):
        if said[key] != ours[key]:
            raise InputError(
                f"{folder}: {CONFIG} and {OWN} disagree about {key}: {said[key]} and {ours[key]}; "
                f"delete {OWN} if another program has changed the folder"
            )
    return replace(theirs, config=config, hparams=hparams, extra_state=own.extra_state, files=files)


def _read_theirs(folder: Path) -> Pretrained:
    content = read_json(folder / CONFIG)
    model_type = content.get("model_type")
    family = next((family for family in FAMILIES if family.model_type == model_type), None)
    if family is None:
        known = ", ".join(family.model_type for family in FAMILIES)
        raise InputError(f"{folder / CONFIG}: model_type={model_type!r} is none of {known}")
    options = Options(folder / CONFIG, family.title, content)
    config, head = family.read(options), family.read_head(options)
    ids = {name: content.get(name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return Pretrained(
        folder=folder,
        family=family,
        head=head,
        config=config,
        hparams={"backbone": asdict(config), **({} if head is None else head.read(options))},
        # Llama 3 has several ends of a text; this file does not say which of them is meant.
        token_ids={name: value for name, value in ids.items() if type(value) is int},
    )


def _check_size(config: GPTConfig, folder: Path) -> None:
    """Refuse a shape far beyond the weights that are there, before anybody allocates it.

    Raises:
        InputError: it is; or the files are no weights.
    """
    assert config.vocab_size is not None
    rows = config.vocab_size + config.n_layer * (config.mlp_width + config.n_head * config.head_width)
    if config.position == "learned":
        rows += config.block_size
    held = sum(math.prod(stored.shape) for stored in stored_tensors(folder).values())
    # Far beyond: what is missing of a model of this size is named by name later on.
    if rows * config.n_embd > 4 * held:
        raise InputError(
            f"{folder}: its configuration describes more than {rows * config.n_embd:,} weights, its files hold {held:,}"
        )


def effective(config: GPTConfig) -> dict[str, Any]:
    """Return the shape with None filled in, without fields that have no effect."""
    shape = asdict(config) | {"n_kv_head": config.kv_heads, "head_dim": config.head_width, "n_inner": config.mlp_width}
    shape["query_pre_attn_scalar"] = config.query_pre_attn_scalar or config.head_width
    if config.nope_interval is not None and config.nope_interval > config.n_layer:
        shape["nope_interval"] = None  # there is no such layer
    if config.rope_global_interval is not None:
        # One is the same as none, and beyond the last layer all intervals are.
        interval = min(config.rope_global_interval, config.n_layer + 1)
        shape["rope_global_interval"] = None if interval == 1 else interval
    unused = [name for name in shape if name.startswith(("rope_", "nope_")) and config.position != "rotary"]
    unused.append("zero_init_proj")  # where weights are read, nothing starts
    if config.rope_factor == 1.0:
        unused += ["rope_low_freq_factor", "rope_high_freq_factor", "rope_original_block_size"]
    if shape["rope_global_interval"] is None:
        unused.append("rope_local_theta")
    return {name: value for name, value in shape.items() if name not in unused}
