"""``gpt-lightning export``: a folder that is a model, for Hugging Face's classes too where they have such a one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_lightning.commands.parser import Parser

if TYPE_CHECKING:
    import torch

    from gpt_lightning.tasks import Task
    from gpt_lightning.tokenizers.tokenizer import Tokenizer


def parser() -> Parser:
    """The command's options."""
    p = Parser(
        prog="gpt-lightning export",
        description="Write a model as a folder: weights as safetensors, configuration, tokenizer and a model card. "
        "Hugging Face's classes read it too, where they have such a model; so does every command here that takes a "
        "model.",
    )
    p.add_argument("model", type=str, metavar="MODEL", help="a checkpoint, a run's folder (its best one), or a model's")
    p.add_argument("folder", type=str, metavar="DIR", help="a new folder, or an empty one")
    p.add_argument("--dtype", type=str, default="float32", help="of the weights: float32, bfloat16 or float16")
    p.add_argument(
        "--adapter",
        action="store_true",
        help="write the adapters of MODEL alone, in peft's format, rather than merge them",
    )
    p.add_loading_options()
    return p


def main(argv: list[str]) -> int:
    """Write the folder; say if it is for us alone, and why."""
    options = parser().parse_args(argv)

    import torch

    from gpt_lightning.checkpoints.run_folder import make_folder
    from gpt_lightning.errors import InputError
    from gpt_lightning.models import huggingface
    from gpt_lightning.models.huggingface.tensor_files import write_json
    from gpt_lightning.tasks import CausalLM
    from gpt_lightning.tasks.load import find_checkpoint, load_task

    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if options.dtype not in dtypes:
        raise InputError(f"--dtype {options.dtype}: choose one of {', '.join(dtypes)}")
    path, folder = find_checkpoint(options.model), Path(options.folder)
    if options.adapter:
        return export_adapter(path, folder, options.init_from, dtypes[options.dtype])
    task, tokenizer = load_task(path, options.init_from)
    make_folder(folder)
    ids = special_ids(tokenizer)
    reason = huggingface.save(
        folder,
        task,
        dict(task.hparams),
        head=task.huggingface_head,
        pad_token_id=ids["pad_token_id"],
        bos_token_id=ids["bos_token_id"],
        eos_token_id=ids["eos_token_id"],
        dtype=dtypes[options.dtype],
    )
    tokenizer.save(folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", _tokenizer_config(tokenizer, ids, task.backbone.config.block_size))
    if isinstance(task, CausalLM):
        write_json(folder / "generation_config.json", ids)
    run = path.parent.parent if path.is_file() else path
    for kept in ("config.yaml", "metrics.json"):
        if (run / kept).is_file():
            (folder / kept).write_bytes((run / kept).read_bytes())
    (folder / "README.md").write_text(card(task, run, reason), encoding="utf-8")
    print(f"{type(task).__name__}, {sum(p.numel() for p in task.parameters()):,} parameters: {folder}")
    if reason is not None:
        print(f"for gpt-lightning alone: {reason}")
    return 0


def card(task: "Task", run: Path, reason: str | None) -> str:
    """The model card: what it is, what was measured, how it was trained, how to use it."""
    from gpt_lightning.tasks import CausalLM

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


def special_ids(tokenizer: "Tokenizer") -> dict[str, int]:
    """The ids of what begins, ends and fills up texts: the end of text, unless the tokenizer says otherwise.

    A tokenizer that was made here has no other special token; texts begin with it too.
    """
    end, known = tokenizer.end_of_text_id, tokenizer.config
    named = {"bos_token_id": known.bos_token, "eos_token_id": None, "pad_token_id": known.pad_token}
    return {key: end if name is None else tokenizer.id_of(name, end) for key, name in named.items()}


def _tokenizer_config(tokenizer: "Tokenizer", ids: dict[str, int], block_size: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "padding_side": "right",
        **tokenizer.config.said(),
        **{key.removesuffix("_id"): tokenizer.token(number) for key, number in ids.items()},
    }


# --- adapters alone


def export_adapter(path: Path, folder: Path, init_from: str | None, dtype: "torch.dtype") -> int:
    """Write the adapters of the checkpoint ``path``; ``init_from`` is where their base is, if it has moved."""
    from gpt_lightning.checkpoints.run_folder import make_folder
    from gpt_lightning.errors import InputError
    from gpt_lightning.models import huggingface
    from gpt_lightning.models.huggingface.adapter import check_adapter, save_adapter
    from gpt_lightning.tasks.load import find_checkpoint, load_task, read_checkpoint

    checkpoint = read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    if "init_from" not in hparams:
        raise InputError(f"{path}: has no adapters, or they are merged; leave --adapter out to write all of it")
    task, tokenizer = load_task(path, init_from)  # which compares the base with what they were trained beside
    name = init_from or hparams["init_from"]
    base = find_checkpoint(name)
    if not base.is_dir():
        raise InputError(
            f"{name} is a run of ours, beside which peft cannot put adapters: write it as a folder, "
            f"gpt-lightning export {name} BASE, and give that with --init_from BASE; or leave --adapter out"
        )
    pretrained, name = huggingface.read_config(base), name.removeprefix("hub:")
    check_adapter(folder, task.backbone.config, task.huggingface_head, hparams, pretrained)
    make_folder(folder)
    save_adapter(folder, task.backbone, checkpoint, task.huggingface_head, pretrained, name, dtype)
    tokenizer.save(folder / "tokenizer.json")
    (folder / "README.md").write_text(adapter_card(task, tokenizer, name), encoding="utf-8")
    print(f"adapters of a {type(task).__name__} for {name}: {folder}")
    return 0


def adapter_card(task: "Task", tokenizer: "Tokenizer", base: str) -> str:
    """How to use them."""
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
        f"Trained with gpt-lightning beside {base}, whose weights they need.",
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
