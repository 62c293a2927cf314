"""Exporting a task and its tokenizer as a model folder, or its adapters in peft's format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from gpt_lightning.checkpoints.run_folder import make_folder
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.models.huggingface.adapter import check_adapter, save_adapter
from gpt_lightning.models.huggingface.tensor_files import write_json
from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.causal_lm import CausalLM
from gpt_lightning.tasks.load import find_checkpoint, load_task, read_checkpoint
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_KEPT: Final = ("config.yaml", "metrics.json")
"""Files of a run that stay with the model."""


def export_task(task: Task, tokenizer: Tokenizer, source: Path, folder: Path, dtype: str = "float32") -> str | None:
    """Write a model folder: weights as safetensors, configuration, tokenizer and a model card.

    Args:
        task: with its weights; adapters are merged.
        tokenizer: the task's.
        source: the checkpoint or model folder that the task comes from, for its configuration and metrics.
        folder: a new folder, or an empty one.
        dtype: of the weights: float32, bfloat16 or float16.

    Returns:
        Why Hugging Face's classes cannot read the folder, or None if they can.

    Raises:
        InputError: the folder holds a model, or cannot be written.
    """
    torch_dtype = dtype_of(dtype)
    make_folder(folder)
    ids = special_ids(tokenizer)
    reason = huggingface.save(folder, task, dict(task.hparams), head=task.huggingface_head, dtype=torch_dtype, **ids)
    tokenizer.save(folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", _tokenizer_config(tokenizer, ids, task.backbone.config.block_size))
    if isinstance(task, CausalLM):
        write_json(folder / "generation_config.json", ids)
    run = source.parent.parent if source.is_file() else source
    for kept in _KEPT:
        if (run / kept).is_file():
            (folder / kept).write_bytes((run / kept).read_bytes())
    (folder / "README.md").write_text(_model_card(task, run, reason), encoding="utf-8")
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
        path: the checkpoint.
        folder: a new folder, or an empty one.
        init_from: where the weights are that the adapters were trained on, if they have moved.
        dtype: of the adapters: float32, bfloat16 or float16.
        allow_import: packages of the user's own that the task's class may come from.

    Returns:
        The task with its adapters merged, and the name of the model that they need.

    Raises:
        InputError: there are no adapters, their base is not a model folder, or Hugging Face has no such model.
    """
    torch_dtype, checkpoint = dtype_of(dtype), read_checkpoint(path, allow_import)
    hparams = checkpoint["hyper_parameters"]
    if "init_from" not in hparams:
        raise InputError(f"{path}: has no adapters, or they are merged. Leave --adapter out to write the whole model")
    task, tokenizer = load_task(path, init_from, allow_import)  # refuses a base with another digest
    name = init_from or hparams["init_from"]
    base = find_checkpoint(name)
    if not base.is_dir():
        raise InputError(
            f"{name} is a run, and peft needs a model folder. Write one with gpt-lightning export {name} BASE and give "
            "--init_from BASE, or leave --adapter out"
        )
    pretrained, name = huggingface.read_config(base), name.removeprefix("hub:")
    check_adapter(folder, task.backbone.config, task.huggingface_head, hparams, pretrained)
    make_folder(folder)
    save_adapter(folder, task.backbone, checkpoint, task.huggingface_head, pretrained, name, torch_dtype)
    tokenizer.save(folder / "tokenizer.json")
    (folder / "README.md").write_text(_adapter_card(task, tokenizer, name), encoding="utf-8")
    return task, name


def dtype_of(name: str) -> torch.dtype:
    """Return the dtype called ``name``.

    Raises:
        InputError: it is not one that weights are written in.
    """
    if name not in _DTYPES:
        raise InputError(f"--dtype {name}: choose one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of the tokens that start, end and pad texts.

    They are the end-of-text token, unless the tokenizer's configuration names others: the tokenizers of this package
    have no other special token, and texts start with it too.
    """
    end, known = tokenizer.end_of_text_id, tokenizer.config
    named = {"bos_token_id": known.bos_token, "eos_token_id": None, "pad_token_id": known.pad_token}
    return {key: end if name is None else tokenizer.token_id(name, end) for key, name in named.items()}


def _tokenizer_config(tokenizer: Tokenizer, ids: dict[str, int], block_size: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "padding_side": "right",
        **tokenizer.config.to_dict(),
        **{key.removesuffix("_id"): tokenizer.token(number) for key, number in ids.items()},
    }


def _model_card(task: Task, run: Path, reason: str | None) -> str:
    """Return the model card: what the model is, its metrics, how it was trained and how to use it."""
    name = type(task).__name__
    lines = [
        f"# {name}",
        "",
        f"Trained with gpt-lightning; {sum(p.numel() for p in task.parameters()):,} parameters.",
        "",
    ]
    if reason is not None:
        lines += [f"Hugging Face's classes have no such model: {reason}.", ""]
    command = "generate DIR --prompt TEXT" if isinstance(task, CausalLM) else "predict --model DIR --input rows.jsonl"
    lines += ["```sh", f"gpt-lightning {command}", "```", ""]
    if (run / "metrics.json").is_file():
        measured = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        lines += [f"## Measured on {measured['data']}", "", "| metric | value |", "|---|---:|"]
        lines += [f"| {key} | {value:.4f} |" for key, value in measured["metrics"].items() if value is not None]
        lines.append("")
    if (run / "config.yaml").is_file():
        lines += ["## Configuration", "", "```yaml", (run / "config.yaml").read_text(encoding="utf-8").rstrip(), "```"]
    return "\n".join(lines).rstrip() + "\n"


def _adapter_card(task: Task, tokenizer: Tokenizer, base: str) -> str:
    """Return the model card of adapters: the model that they need and how to load both."""
    name, options, head = type(task).__name__, f'"{base}"', task.huggingface_head
    assert head is not None
    labels: list[str] | None = task.hparams.get("labels")
    if labels:
        options += f", id2label={dict(enumerate(labels))}"
    if head.needs_pad_token_id:
        options += f", pad_token_id={special_ids(tokenizer)['pad_token_id']}"
    lines = [
        f"# Adapters: {name}",
        "",
        f"Trained with gpt-lightning on {base}, whose weights they need.",
        "",
        "```python",
        "import peft",
        "import transformers",
        "",
        f"model = transformers.{head.auto_class}.from_pretrained({options})",
        'model = peft.PeftModel.from_pretrained(model, "THIS FOLDER")',
        "```",
    ]
    return "\n".join(lines) + "\n"
