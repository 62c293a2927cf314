"""``gpt-lightning export``: write a model folder, or adapters in peft's format."""

from pathlib import Path

from gpt_lightning.commands.parser import Parser
from gpt_lightning.printable import printable
from gpt_lightning.status import status


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning export",
        description="Write a model to a folder: weights as safetensors, configuration, tokenizer and a model card. "
        "Every command with a MODEL argument reads this folder. So do Hugging Face's classes, if they support the "
        "architecture.",
        examples=["gpt-lightning export logs/first_run/version_0 my_model"],
    )
    p.add_model_argument()
    p.add_argument("folder", type=str, metavar="DIR", help="folder to write to, new or empty")
    p.add_argument("--dtype", type=str, default="float32", help="type of the weights: float32, bfloat16 or float16")
    p.add_argument(
        "--adapter",
        action="store_true",
        help="write only the LoRA adapters of MODEL, in peft's format, instead of merging them into the weights",
    )
    p.add_loading_options()
    return p


def main(argv: list[str]) -> int:
    """Write the folder, and print why Hugging Face's classes cannot read it, or how their output differs."""
    options = parser().parse_args(argv)

    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.tasks.load  # noqa: F401

    from gpt_lightning.tasks.export import dtype_of, export_adapter, export_task
    from gpt_lightning.tasks.load import find_checkpoint, load_task
    from gpt_lightning.tasks.model_card import transformers_notes

    dtype_of(options.dtype)
    path, folder = find_checkpoint(options.model), Path(options.folder)
    if options.adapter:
        task, base = export_adapter(path, folder, options.init_from, options.dtype, options.allow_import)
        print(printable(f"adapters of a {type(task).__name__} for {base}: {folder}"))
        return 0
    task, tokenizer = load_task(path, options.init_from, options.allow_import)
    with status(f"Writing {folder}"):
        reason = export_task(task, tokenizer, path, folder, options.dtype)
    print(f"{type(task).__name__}, {sum(p.numel() for p in task.parameters()):,} parameters: {folder}")
    if reason is not None:
        print(printable(f"only gpt-lightning can read this folder: {reason}"))
        return 0
    for note in transformers_notes(task, tokenizer, reason):
        print(printable(note))
    return 0
