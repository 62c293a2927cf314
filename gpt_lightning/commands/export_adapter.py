"""``gpt-lightning export --adapter``: the adapters of a run in peft's own format."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from gpt_lightning.tasks import Task
    from gpt_lightning.tokenizers.tokenizer import Tokenizer


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
    check_adapter(folder, task.backbone.config, hparams, pretrained)
    make_folder(folder)
    save_adapter(folder, task.backbone, checkpoint, pretrained, name, dtype)
    tokenizer.save(folder / "tokenizer.json")
    (folder / "README.md").write_text(card(task, tokenizer, name), encoding="utf-8")
    print(f"adapters of a {type(task).__name__} for {name}: {folder}")
    return 0


def card(task: "Task", tokenizer: "Tokenizer", base: str) -> str:
    """How to use them."""
    from gpt_lightning.commands.export import special_ids

    name, options = type(task).__name__, f'"{base}"'
    labels: list[str] | None = task.hparams.get("labels")
    if labels:
        options += f", id2label={dict(enumerate(labels))}"
    if name == "SequenceClassification":
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
        f"model = transformers.AutoModelFor{name}.from_pretrained({options})",
        'model = peft.PeftModel.from_pretrained(model, "THIS FOLDER")',
        "```",
    ]
    return "\n".join(lines) + "\n"
