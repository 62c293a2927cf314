"""Configuration of a model folder, without its weights."""

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
from gpt_lightning.models.huggingface.own_config import OWN_CONFIG, read_own_config
from gpt_lightning.models.huggingface.tensor_files import read_json, stored_tensors
from gpt_lightning.models.plain_config import min_num_weights

CONFIG: Final = "config.json"


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Configuration of the model in a folder.

    Attributes:
        folder: path of the folder.
        family: the Hugging Face model family; None if the folder has only our own format.
        head: the Hugging Face head that ``config.json`` names; None for a backbone without a head, or without that
            file.
        config: the configuration of the backbone.
        hparams: hyper-parameters of the task: all of them from ``gpt_lightning.json``, or ``backbone`` and those that
            ``config.json`` has. The values are plain, but not checked against the task's signature.
        extra_state: a number that the task stores in addition to its weights, or None.
        files: names of the weight files -> SHA-256; empty if unknown.
        notes: lines for the user about options that change how the model is used.
        pad_token_id: ``pad_token_id`` in ``config.json``, or None.
    """

    folder: Path
    family: Family | None
    head: HuggingFaceHead | None
    config: GPTConfig
    hparams: dict[str, Any]
    extra_state: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pad_token_id: int | None = None

    @property
    def task(self) -> str | None:
        """Class of the task, as ``gpt_lightning.json`` names it; None without that file."""
        return self.hparams.get("task")

    @property
    def labels(self) -> list[str] | None:
        """Names of the labels in the order of the head's outputs; None for tasks without labels."""
        return self.hparams.get("labels")


def is_model_folder(folder: Path) -> bool:
    """Return True if ``folder`` has a model configuration."""
    return (folder / CONFIG).exists() or (folder / OWN_CONFIG).exists()


def read_config(folder: Path) -> Pretrained:
    """Return the configuration of a model folder, without reading weights or running code.

    Raises:
        InputError: the folder is missing or not a model, has unsupported options, stores its weights as pickles, or has
            two configurations that disagree.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: folder not found. Check the path")
    if not is_model_folder(folder):
        raise InputError(f"{folder}: not a model folder: it has neither {CONFIG} nor {OWN_CONFIG}")
    published = _read_huggingface(folder) if (folder / CONFIG).exists() else None
    if not (folder / OWN_CONFIG).exists():
        assert published is not None
        _check_size(published.config, folder)
        return published
    own = read_own_config(folder / OWN_CONFIG)
    config, hparams, _, files = own
    _check_size(config, folder)
    if published is None:
        return Pretrained(
            folder=folder,
            family=None,
            head=None,
            config=config,
            hparams=hparams,
            extra_state=own.extra_state,
            files=files,
        )
    first = {**published.hparams, **effective_shape(published.config)}
    second = {**hparams, **effective_shape(config)}
    for key in sorted((first.keys() & second.keys()) - {"backbone", "dropout", "attention_dropout"}):
        if first[key] != second[key]:
            raise InputError(
                f"{folder}: {CONFIG} and {OWN_CONFIG} disagree about {key}: {first[key]} and {second[key]}. "
                f"Delete {OWN_CONFIG} if another program has changed the folder"
            )
    return replace(published, config=config, hparams=hparams, extra_state=own.extra_state, files=files)


def _read_huggingface(folder: Path) -> Pretrained:
    """Return the configuration in ``config.json``."""
    content = read_json(folder / CONFIG)
    model_type = content.get("model_type")
    family = next((family for family in FAMILIES if family.model_type == model_type), None)
    if family is None:
        supported = ", ".join(family.model_type for family in FAMILIES)
        raise InputError(f"{folder / CONFIG}: model_type={model_type!r} is not supported. Supported are {supported}")
    options = Options(folder / CONFIG, family.title, content)
    config, head = family.read(options), family.read_head(options)
    return Pretrained(
        folder=folder,
        family=family,
        head=head,
        config=config,
        hparams={"backbone": asdict(config), **({} if head is None else head.read(options))},
        notes=tuple(options.notes),
        pad_token_id=pad if type(pad := content.get("pad_token_id")) is int else None,
    )


def _check_size(config: GPTConfig, folder: Path) -> None:
    """Check that the configuration is not far larger than the weight files, before memory is allocated for it.

    Raises:
        InputError: the configuration describes far more weights than the files have, or the files are invalid.
    """
    num_described = min_num_weights(config)
    num_stored = sum(math.prod(stored.shape) for stored in stored_tensors(folder).values())
    # Smaller differences are found later, when missing tensors are named.
    if num_described > 4 * num_stored:
        raise InputError(
            f"{folder}: its configuration describes more than {num_described:,} weights, but its files have "
            f"{num_stored:,}. Copy or download the folder again"
        )


def effective_shape(config: GPTConfig) -> dict[str, Any]:
    """Return the fields of a configuration that affect a trained model, with defaults in place of None."""
    shape = asdict(config) | {"n_kv_head": config.kv_heads, "head_dim": config.head_width, "n_inner": config.mlp_width}
    shape["rope_attention_factor"] = config.attention_factor
    shape["query_pre_attn_scalar"] = config.query_pre_attn_scalar or config.head_width
    if config.nope_interval is not None and config.nope_interval > config.n_layer:
        shape["nope_interval"] = None  # no layer without rotary positions
    if config.rope_global_interval is not None:
        # An interval of 1 is the same as None. All intervals beyond the last layer make all layers local.
        interval = min(config.rope_global_interval, config.n_layer + 1)
        shape["rope_global_interval"] = None if interval == 1 else interval
    unused = [name for name in shape if name.startswith(("rope_", "nope_")) and config.position != "rotary"]
    unused.append("zero_init_proj")  # only affects initialization
    if config.n_encoder_layer is None:
        unused.append("share_embeddings")
    if config.rope_factor == 1.0:
        unused.append("rope_type")
    if config.rope_factor == 1.0 or config.rope_type == "linear":
        unused += ["rope_low_freq_factor", "rope_high_freq_factor", "rope_original_block_size"]
    if shape["rope_global_interval"] is None:
        unused.append("rope_local_theta")
    return {name: value for name, value in shape.items() if name not in unused}
