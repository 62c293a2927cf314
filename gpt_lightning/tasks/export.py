"""Export of a task and its tokenizer as a model folder, or of its LoRA adapters in peft's format."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.bounded_files import read_text
from gpt_lightning.downloads import only_downloads
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.models.huggingface.adapter import check_adapter, save_adapter
from gpt_lightning.models.huggingface.heads import SEQ2SEQ_LM
from gpt_lightning.models.huggingface.tensor_files import write_json
from gpt_lightning.models.new_tokens import has_new_rows
from gpt_lightning.output_files import output_folder
from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.causal_lm import CausalLM
from gpt_lightning.tasks.export_tokenizer import ids_of_head, layout_of, write_tokenizer
from gpt_lightning.tasks.load import find_checkpoint, load_task, read_checkpoint
from gpt_lightning.tasks.model_card import adapter_card, model_card, transformers_notes
from gpt_lightning.tasks.seq2seq_lm import Seq2SeqLM
from gpt_lightning.tokenizers.generation_config import GENERATION_CONFIG, generation_ids
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_RUN_FILES: Final = ("config.yaml", "metrics.json")
"""Files of a run that are copied into the model folder."""
_MAX_BYTES: Final = 1 << 24
"""Size limit of these files."""


def export_task(task: Task, tokenizer: Tokenizer, source: Path, folder: Path, dtype: str = "float32") -> str | None:
    """Write a model folder: weights as safetensors, configuration, tokenizer and a model card.

    Args:
        task: task with its weights, adapters merged.
        tokenizer: tokenizer of the task.
        source: checkpoint or model folder of the task; its run's configuration and metrics are copied.
        folder: new or empty folder.
        dtype: data type of the weights: float32, bfloat16 or float16.

    Returns:
        The reason why Hugging Face's classes cannot read the folder, or None if they can.

    Raises:
        InputError: the folder is not empty, or cannot be written.
        RunError: the disk is full.
    """
    torch_dtype = dtype_of(dtype)
    ids, hparams, head = special_ids(tokenizer), dict(task.hparams), task.huggingface_head
    layout = layout_of(task, tokenizer)
    if isinstance(task, Seq2SeqLM) and task.decoder_start_ids is None:
        hparams["decoder_start_ids"] = [tokenizer.end_of_text_id]
    if layout is not None:
        ids, hparams = ids_of_head(ids, tokenizer, layout), hparams | {"layout": asdict(layout)}
    model_ids = ids | generation_ids(tokenizer.generation_config) if isinstance(task, CausalLM) else ids
    run_files = _run_files(source.parent.parent if source.is_file() else source)
    with output_folder(folder) as unfinished:
        reason = huggingface.save(unfinished, task, hparams, head=head, dtype=torch_dtype, **model_ids)
        write_tokenizer(unfinished, tokenizer, layout, ids, task.backbone.config.block_size)
        if isinstance(task, CausalLM):
            write_json(unfinished / GENERATION_CONFIG, dict(tokenizer.generation_config) or ids)
        if isinstance(task, Seq2SeqLM):
            start = SEQ2SEQ_LM.write(hparams)
            write_json(unfinished / GENERATION_CONFIG, {**ids, **tokenizer.generation_config, **start})
        for name, text in run_files.items():
            _write(unfinished / name, text)
        notes = transformers_notes(task, tokenizer, reason)
        _write(unfinished / "README.md", model_card(task, run_files, notes))
    return reason


def export_adapter(
    path: Path,
    folder: Path,
    init_from: str | None = None,
    dtype: str = "float32",
    allow_import: Sequence[str] = (),
) -> tuple[Task, str]:
    """Write the adapters of a checkpoint in peft's format.

    Args:
        path: checkpoint with adapters.
        folder: new or empty folder.
        init_from: new location of the base model, if it has moved.
        dtype: data type of the adapters: float32, bfloat16 or float16.
        allow_import: packages of the user that the task's class may be imported from.

    Returns:
        The task with its adapters merged, and the name of the base model.

    Raises:
        InputError: the checkpoint has no adapters, their base is not a model folder, or Hugging Face has no
            corresponding model.
    """
    torch_dtype, checkpoint = dtype_of(dtype), read_checkpoint(path, allow_import)
    hparams = checkpoint["hyper_parameters"]
    if "init_from" not in hparams:
        raise InputError(f"{path}: there are no unmerged adapters. Leave out --adapter to export the whole model")
    if has_new_rows(checkpoint["state_dict"]):
        raise InputError(
            f"{path}: tokens were added to its model, which adapters alone cannot hold. Leave out --adapter"
        )
    task, tokenizer = load_task(path, init_from, allow_import)  # refuses a base with different weights
    name = init_from or hparams["init_from"]
    with only_downloads([] if init_from is None else [init_from]):
        base = find_checkpoint(name)
    if not base.is_dir():
        raise InputError(
            f"the base model {name} is a run, but peft needs a model folder. Write one with gpt-lightning export "
            f"{name} BASE and add --init_from BASE, or leave out --adapter"
        )
    pretrained, name = huggingface.read_config(base), name.removeprefix("hub:")
    check_adapter(folder, task.backbone.config, task.huggingface_head, hparams, pretrained)
    with output_folder(folder) as unfinished:
        save_adapter(unfinished, task.backbone, checkpoint, task.huggingface_head, pretrained, name, torch_dtype)
        ids, layout = special_ids(tokenizer), layout_of(task, tokenizer)
        if layout is not None:
            ids = ids_of_head(ids, tokenizer, layout)
        write_tokenizer(unfinished, tokenizer, layout, ids, task.backbone.config.block_size)
        _write(unfinished / "README.md", adapter_card(task, special_ids(tokenizer)["pad_token_id"], name))
    return task, name


def _run_files(run: Path) -> dict[str, str]:
    """Return the texts of the run's files that belong into the model folder; unreadable ones are left out."""
    texts = {}
    for name in _RUN_FILES:
        with suppress(InputError):
            texts[name] = read_text(run / name, "", _MAX_BYTES)
    return texts


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode(errors="replace"))


def dtype_of(name: str) -> torch.dtype:
    """Return the torch dtype called ``name``.

    Raises:
        InputError: weights cannot be exported in this dtype.
    """
    if name not in _DTYPES:
        raise InputError(f"--dtype {name}: choose one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of the tokens that start, end and pad texts.

    The end-of-text token has all three roles unless the tokenizer's configuration names other tokens. It is the only
    special token of the tokenizers that this package builds. A tokenizer with a configuration but no BOS token has no
    token that starts texts.
    """
    end, known = tokenizer.end_of_text_id, tokenizer.config
    named = {"bos_token_id": known.bos_token, "eos_token_id": None, "pad_token_id": known.pad_token}
    if known.bos_token is None and known.to_dict():
        del named["bos_token_id"]
    return {key: end if name is None else tokenizer.token_id(name, end) for key, name in named.items()}
