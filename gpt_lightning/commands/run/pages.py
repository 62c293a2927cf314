"""Help of ``fit``, ``validate``, ``test`` and ``predict``, without importing Lightning.

``help.json`` holds the options that people use most. ``common_options.py`` writes it from the parsers, and a test keeps
the two equal.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gpt_lightning.commands.help_page import Entry, Section, help_page

FILE: Final = Path(__file__).with_name("help.json")


class Page(NamedTuple):
    """Frame of a command's help: everything but the options."""

    usage: str
    description: str
    examples: tuple[str, ...]


PAGES: Final = {
    "fit": Page(
        "gpt-lightning fit -c FILE [--KEY=VALUE ...]",
        "Train a model. Settings come from YAML files and from flags: -c can be given several times, later files "
        "override earlier ones, and flags override files. Every KEY below is also a key of a YAML file, where the "
        "arguments of model and data are below init_args.\n\n"
        "The checkpoints, the metrics and the complete configuration are written to LOG_DIR/EXPERIMENT/version_N, or "
        "with --name to LOG_DIR/EXPERIMENT/NAME.",
        (
            "gpt-lightning toy-world data/toy_world",
            "gpt-lightning fit --model=CausalLM --data=LanguageModeling --experiment=first_run \\\n"
            "    --data.train=data/toy_world/text/train.jsonl \\\n"
            "    --data.validation=data/toy_world/text/validation.jsonl \\\n"
            "    --model.backbone.n_layer=2 --model.backbone.n_embd=96 --model.backbone.block_size=128 \\\n"
            "    --model.optimizer.lr=0.002 --trainer.max_steps=100",
            "gpt-lightning fit -c logs/first_run/version_0/config.yaml --model.optimizer.lr=0.001",
        ),
    ),
    "validate": Page(
        "gpt-lightning validate --ckpt_path=RUN [-c FILE] [--KEY=VALUE ...]",
        "Evaluate a checkpoint on the validation data, and print its metrics. The task and the shape of the model come "
        "from the checkpoint. The data comes from the YAML file, such as the config.yaml of the run, or from flags.",
        ("gpt-lightning validate --ckpt_path=logs/first_run/version_0 -c logs/first_run/version_0/config.yaml",),
    ),
    "test": Page(
        "gpt-lightning test --ckpt_path=RUN [-c FILE] [--KEY=VALUE ...]",
        "Evaluate a checkpoint on the test data, print its metrics, and write them to metrics.json in the run folder. "
        "The task and the shape of the model come from the checkpoint. The data comes from the YAML file, or from "
        "flags.",
        ("gpt-lightning test --ckpt_path=logs/first_run/version_0 --data.test=data/toy_world/text/test.jsonl",),
    ),
    "predict": Page(
        "gpt-lightning predict --model MODEL --input FILE [--output FILE] [--KEY=VALUE ...]",
        "Write the predictions of a checkpoint, one JSON line for each row. Rows need no labels.",
        (
            "gpt-lightning predict --model logs/first_run/version_0 \\\n"
            "    --input data/toy_world/text/test.jsonl --output predictions.jsonl",
        ),
    ),
}
"""Subcommand -> the frame of its help."""


def wants_help(arguments: Sequence[str]) -> bool:
    """Return whether the arguments of a subcommand ask for the short help."""
    return any(each in ("-h", "--help") for each in arguments) and not wants_all(arguments)


def wants_all(arguments: Sequence[str]) -> bool:
    """Return whether the arguments of a subcommand ask for the help of every option: ``--help all``."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(each == "--help=all" or (each in ("-h", "--help") and value == "all") for each, value in pairs)


def short_help(subcommand: str) -> str:
    """Return the help of a subcommand with the options that people use most."""
    page = PAGES[subcommand]
    sections = json.loads(FILE.read_text(encoding="utf-8"))[subcommand]
    return help_page(page.usage, page.description, read_sections(sections), page.examples)


def read_sections(sections: dict[str, dict[str, str]]) -> list[Section]:
    """Return sections from their form in ``help.json``: title -> option -> explanation."""
    return [Section(title, [Entry(*each) for each in entries.items()]) for title, entries in sections.items()]
