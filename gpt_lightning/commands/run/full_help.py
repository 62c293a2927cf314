"""Help of every option of a run: ``--help all``."""

import re
import sys
from typing import Any, Final

from jsonargparse import ArgumentParser

from gpt_lightning import tasks
from gpt_lightning.commands.help_page import Section, entry_of, sections_of
from gpt_lightning.commands.parser import MODEL_HELP
from gpt_lightning.commands.run.classes import class_at
from gpt_lightning.commands.run.command_line import CommandLine, predict_shorthand
from gpt_lightning.commands.run.pages import PAGES
from gpt_lightning.commands.run.parser import RunParser
from gpt_lightning.data.find import data_modules_for, default_data_module, goes_with
from gpt_lightning.tasks.saving import arguments_of

TITLES: Final = {
    "trainer": "Trainer (Lightning's documentation has more)",
    "model": "Model",
    "data": "Data",
    "checkpoints": "Checkpoints",
    "samples": "Text samples after each validation",
    "lm_eval": "Tasks of lm-evaluation-harness during training",
    "predictions": "Predictions",
}
"""Group of arguments -> title of its section; jsonargparse would cut one from a docstring."""

TEXTS: Final = {
    "help": "show the most common options; --help all shows every option",
    "config": "YAML file with settings; can be given several times",
    "print_config": "print the complete configuration and exit; =skip_default leaves out defaults",
    "seed_everything": "seed of all random numbers",
    "model": "the task, a class: {tasks}, or the path of a class of your own",
    "data": "the data module, a class: {data}, or the path of a class of your own",
    "model.help": "show every --model.NAME option of a task and exit",
    "data.help": "show every --data.NAME option of a data module and exit",
}
"""Explanations of options that Lightning and jsonargparse add."""

TRAINER_TEXTS: Final = {
    "accelerator": "kind of device: cpu, gpu, mps, or auto",
    "devices": "number of devices, a list of their numbers, or auto",
    "strategy": "how several devices share the work: ddp, fsdp, or auto",
    "precision": "arithmetic, such as 32-true, bf16-mixed or 16-mixed; null takes bf16-mixed on GPUs that have it",
    "max_steps": "stop after this many optimizer steps; -1 sets no limit",
    "max_epochs": "stop after this many passes over the training data; null: 1000, or no limit if max_steps is set",
    "accumulate_grad_batches": "micro-batches whose gradients are added up for one optimizer step",
    "gradient_clip_val": "largest norm of the gradient",
    "val_check_interval": "validate after this many batches, or after this part of an epoch, such as 0.25",
    "check_val_every_n_epoch": "validate in every n-th epoch; null lets val_check_interval count across epochs",
    "limit_val_batches": "evaluate this many batches, or this part of the data; null takes all",
    "limit_test_batches": "evaluate this many batches, or this part of the data; null takes all",
    "limit_predict_batches": "predict this many batches, or this part of the data; null takes all",
    "log_every_n_steps": "number of optimizer steps between two logged training losses",
    "default_root_dir": "ignored by fit, whose folder is log_dir/experiment/version_N or log_dir/experiment/name",
    "logger": "logger, which writes to the folder of the run: null for TensorBoard, false for none, or the class path "
    "of another logger",
}
"""Explanations of the Trainer's arguments; Lightning's own fill half a page each."""

METAVARS: Final = dict.fromkeys(("model", "data", "model.help", "data.help"), "CLASS") | {
    "config": "FILE",
    "print_config": "[=skip_default]",
}
_DEFAULT: Final = re.compile(r"\s*Default: ``[^`]*``\.?$")
"""Default at the end of an explanation in Lightning's docstring; a page shows the default that holds here."""
CKPT_PATH: Final = f"model to evaluate: {MODEL_HELP}"
CKPT_PATH_OF_FIT: Final = "checkpoint to resume from, or a run folder (its last checkpoint)"


def describe(parser: RunParser, subcommand: str) -> None:
    """Give the parser of a subcommand its usage and examples, titles of its sections, and missing explanations."""
    parser.usage, parser.description, parser.examples = PAGES[subcommand]
    parser._optionals.title = "Files and run"
    for key, title in (TITLES | {subcommand: "Checkpoint"}).items():
        groups_of(parser)[key].title = title
    names = {
        "tasks": ", ".join(task.__name__ for task in tasks.CONCRETE),
        "data": ", ".join(
            dict.fromkeys(module.__name__ for task in tasks.CONCRETE for module in data_modules_for(task))
        ),
    }
    texts = TEXTS | {f"trainer.{name}": text for name, text in TRAINER_TEXTS.items()}
    texts |= {"ckpt_path": CKPT_PATH_OF_FIT if subcommand == "fit" else CKPT_PATH}
    for action in parser._actions:
        action.help = texts[action.dest].format(**names) if action.dest in texts else action.help
        if action.dest.startswith("trainer.") and action.help:
            action.help = _DEFAULT.sub("", action.help)
        if action.dest in METAVARS:
            action.metavar = METAVARS[action.dest]


def print_full_help(parser: RunParser, subcommand: str, arguments: list[str]) -> None:
    """Print every option of a subcommand, with those of the task and the data module that the arguments name."""
    line = CommandLine.split([each for each in arguments if each not in ("-h", "--help", "--help=all", "all")])
    user = line.read(parser, {})
    named = [user.get(f"{part}.class_path") for part in ("model", "data")]
    task, module = (None if each is None else class_at(each.value) for each in named)
    sections = sections_of(parser)
    if subcommand == "predict":
        sections = [*sections_of(predict_shorthand()), *sections]
    for prefix, owner in zip(("model", "data"), _complete(task, module), strict=True):
        sections += _class_sections(prefix, owner)
    print(parser.page(sections))
    sys.exit(0)


def _complete(task: type[Any] | None, module: type[Any] | None) -> tuple[type[Any], type[Any]]:
    """Return a task and a data module that go together, with a default of ours in place of a missing one."""
    if task is None:
        task = next((each for each in tasks.CONCRETE if module is None or goes_with(each, module)), tasks.CausalLM)
    return task, module or default_data_module(task) or data_modules_for(task)[0]


def _class_sections(prefix: str, owner: type) -> list[Section]:
    """Return the arguments of a class in sections: its own, and one for each group among them."""
    sections = []
    for key, group in groups_of(arguments_of(owner, prefix)).items():
        title = f"Options of {owner.__name__}" if key == prefix else f"--{key}: {group.title}"
        # The option for the whole class is among those of the subcommand.
        entries = [entry_of(action) for action in group._group_actions if action.dest != prefix]
        sections.append(Section(title, entries))
    return sections


def groups_of(parser: ArgumentParser) -> dict[str, Any]:
    """Return the groups of a parser's arguments by their keys."""
    assert parser.groups is not None
    return parser.groups
