"""The options of a run that people use most, explained from the parsers.

``python -m gpt_lightning.commands.run.common_options`` writes them to ``help.json`` for ``pages.py``.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Final

from gpt_lightning import tasks
from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.commands.help_page import Entry, first_sentence, option_name, plain_value
from gpt_lightning.commands.run.command_line import predict_shorthand
from gpt_lightning.commands.run.pages import FILE
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers
from gpt_lightning.data.find import data_modules
from gpt_lightning.tasks.saving import arguments_of

_HARDWARE: Final = ("trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.precision", "compile")
_FILES: Final = ("config", "print_config", "allow_import", "help", "model.help", "data.help")

OPTIONS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "fit": {
        "Data": (
            "data",
            "data.train",
            "data.validation",
            "data.text_column",
            "data.label_column",
            "data.tokenizer",
            "data.batch_size",
            "data.on_bad_row",
        ),
        "Model": (
            "model",
            "model.init_from",
            "model.lora.r",
            "model.fine_tuning.freeze",
            "model.backbone.n_layer",
            "model.backbone.n_head",
            "model.backbone.n_embd",
            "model.backbone.block_size",
            "model.backbone.dropout",
        ),
        "Optimization": (
            "model.optimizer.lr",
            "model.optimizer.weight_decay",
            "model.schedule.kind",
            "model.schedule.warmup_steps",
            "trainer.max_steps",
            "trainer.max_epochs",
            "trainer.accumulate_grad_batches",
            "trainer.gradient_clip_val",
        ),
        "Run and hardware": ("experiment", "name", "log_dir", "seed_everything", *_HARDWARE),
        "Validation, checkpoints and resuming": (
            "trainer.val_check_interval",
            "trainer.check_val_every_n_epoch",
            "checkpoints.monitor",
            "checkpoints.mode",
            "checkpoints.every_n_steps",
            "resume",
            "ckpt_path",
        ),
        "Logging": ("trainer.log_every_n_steps", "trainer.logger", "samples.prompts", "lm_eval.tasks"),
        "Files and help": _FILES,
    },
    "validate": {
        "Checkpoint and data": ("ckpt_path", "data.validation", "data.batch_size", "data.on_bad_row"),
        "Hardware": (*_HARDWARE, "trainer.limit_val_batches"),
        "Files and help": _FILES,
    },
    "test": {
        "Checkpoint and data": ("ckpt_path", "data.test", "data.batch_size", "data.on_bad_row"),
        "Verdict": ("verdict", "calibrate", "learning_curve", "must_beat"),
        "Hardware": (*_HARDWARE, "trainer.limit_test_batches"),
        "Files and help": _FILES,
    },
    "predict": {
        "Short form": ("--model", "--input", "--output"),
        "Long form, with a YAML file": ("ckpt_path", "data.test", "predictions.path"),
        "More options": (
            "--overwrite",
            "data.batch_size",
            "data.on_bad_row",
            *_HARDWARE,
            "trainer.limit_predict_batches",
        ),
        "Files and help": _FILES,
    },
}
"""Subcommand -> title of a section -> keys of options; a key with ``--`` is of ``predict_shorthand``."""

Found = dict[str, tuple[argparse.Action, str]]
"""Key -> the option, and a text for its default."""


def sections(subcommand: str) -> dict[str, dict[str, str]]:
    """Return the options of a subcommand in sections: title -> option -> explanation with its default."""
    found = _class_options("model", tasks.CONCRETE) | _class_options("data", data_modules())
    for action in subcommand_parsers()[subcommand]._actions:
        default = "" if action.dest == "config" else _default(action)
        found[action.dest] = action, default and f"default: {default}"
    for action in predict_shorthand()._actions:
        found[action.option_strings[0]] = action, ""
    return {title: dict(_entry(*found[key]) for key in keys) for title, keys in OPTIONS[subcommand].items()}


def _class_options(prefix: str, classes: Sequence[type]) -> Found:
    """Return the options of some classes; the text says where defaults differ, and which classes have an option."""
    parsers = [(each, {action.dest: action for action in arguments_of(each, prefix)._actions}) for each in classes]
    found: Found = {}
    for key in dict.fromkeys(key for _, options in parsers for key in options):
        owners = [(each.__name__, options[key]) for each, options in parsers if key in options]
        defaults = [_default(action) for _, action in owners]
        usual = max(defaults, key=defaults.count)
        others = [f"{name}: {default}" for (name, _), default in zip(owners, defaults, strict=True) if default != usual]
        only = [f"{', '.join(name for name, _ in owners)} only"] if len(owners) < len(parsers) else []
        found[key] = owners[defaults.index(usual)][1], "; ".join([*only, f"default: {usual}", *others])
    return found


def _default(action: argparse.Action) -> str:
    is_set = action.nargs != 0 and action.default is not argparse.SUPPRESS
    return plain_value(action.default) if is_set else ""


def _entry(action: argparse.Action, default: str) -> Entry:
    text = first_sentence(action.help or "")
    return Entry(option_name(action), f"{text} ({default})" if default else text)


def main() -> None:
    """Write ``help.json``."""
    with atomic_write(FILE) as file:
        text = json.dumps({name: sections(name) for name in OPTIONS}, ensure_ascii=False, indent=1)
        file.write(text.encode() + b"\n")


if __name__ == "__main__":
    main()
