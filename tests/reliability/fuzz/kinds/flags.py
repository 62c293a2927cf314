"""Command lines with changed, added, repeated and missing options."""

import argparse
import importlib
from functools import cache
from random import Random
from typing import Final

from gpt_lightning import tasks
from gpt_lightning.commands.run.command_line import predict_shorthand
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers
from gpt_lightning.commands.table import COMMANDS
from gpt_lightning.data.find import data_modules
from gpt_lightning.tasks.saving import arguments_of
from tests.reliability.fuzz.inputs import Input
from tests.reliability.fuzz.nasty import WORDS
from tests.reliability.fuzz.world import HEADS, RUNS, World

VALID: Final[list[tuple[str, ...]]] = [
    *(("fit", "-c", f"{name}.yaml", "--experiment=new") for name in RUNS),
    ("fit", "-c", "topics.yaml", "--model.init_from=logs/lm/version_0", "--data.tokenizer=tokenizer.json"),
    *(
        (each, "-c", f"{name}.yaml", f"--ckpt_path=logs/{name}/version_0")
        for name in RUNS
        for each in ("validate", "test")
    ),
    *(
        ("predict", f"--model=logs/{name}/version_0", f"--input={name}.jsonl")
        for name in (*HEADS, "chat", "translation")
    ),
    ("evaluate", "logs/topics/version_0"),
    ("evaluate", "logs/tags/version_0", "logs/qa/version_0", "--output=table.md"),
    ("generate", "logs/lm/version_0", "--prompt=1 bottle", "--max_new_tokens=5"),
    ("generate", "model", "--prompt=1 bottle", "--max_new_tokens=5", "--int8"),
    ("generate", "logs/chat/version_0", "--chat", "--prompt=1 bottle", "--max_new_tokens=5"),
    ("generate", "logs/translation/version_0", "--prompt=1 bottle", "--max_new_tokens=5", "--num_beams=2"),
    ("explain", "logs/lm/version_0", "--text=1 bottle"),
    *(("explain", f"logs/{name}/version_0", f"--input={name}.jsonl", "--limit=1") for name in RUNS[1:]),
    ("bias", "logs/lm/version_0", "--pairs=pairs.jsonl"),
    *(("bias", f"logs/{name}/version_0", f"--input={name}.jsonl") for name in HEADS[:2]),
    *(
        ("inspect", "-c", f"{name}.yaml", "--data.validation=null", "--data.test=null", "--output=page.html")
        for name in RUNS
    ),
    *(("without", f"logs/{name}/version_0", "--rows=odd/empty.jsonl") for name in RUNS),
    ("without", "logs/topics/version_0", "--rows=rows/second.txt"),
    ("compare", "logs/lm/version_0", "logs/topics/version_0"),
    ("test", "-c", "topics.yaml", "--ckpt_path=logs/topics/version_0", "--calibrate"),
    ("schema",),
    ("doctor", "--json"),
    ("export", "logs/qa/version_0", "new"),
    ("lm-eval", "logs/lm/version_0", "--tasks=beer", "--include_path=tasks", "--limit=2"),
    ("tokenizer", "show", "tokenizer.json", "--text=1 bottle"),
    ("tokenizer", "train", "--train=text.txt", "--vocab_size=270", "--output=new.json"),
    *(
        ("init", task, f"--train={name}.jsonl")
        for task, name in (("classification", "topics"), ("ner", "tags"), ("qa", "qa"))
    ),
    ("init", "pretrain", "--train=text.txt"),
    ("completion", "bash"),
]
"""Command lines that must succeed."""


def draw(rng: Random, _: World) -> Input:
    """Return a valid command line, or one with one to three changes."""
    arguments = list(rng.choice(VALID))
    if rng.random() < 0.05:
        return Input(tuple(arguments), is_valid=True)
    for _number in range(rng.choice((1, 1, 2, 3))):
        arguments = _change(rng, arguments)
    return Input(tuple(arguments))


def _change(rng: Random, arguments: list[str]) -> list[str]:
    known = options(arguments[0]) if arguments else ()
    if known and rng.random() < 0.75:
        name, value = rng.choice(known), rng.choice(WORDS)
        added = rng.choice(([f"{name}={value}"], [f"{name}={value}"], [name, value], [name], [f"{name}+={value}"]))
        return [*arguments, *added]
    at = rng.randrange(len(arguments) + 1)
    start, _, value = arguments[at].partition("=") if at < len(arguments) else ("", "", "")
    other = [
        [],
        [rng.choice(WORDS)],
        [arguments[at - 1]],
        [start],
        [f"{start}={rng.choice(WORDS)}"],
        [start[:-1]],
        [start.replace("_", "-")],
        [f"{start}.x={value}"],
        [start.upper()],
        [f"-{start}"],
        [f"{start}=", value],
    ]
    return [*arguments[:at], *rng.choice(other), *arguments[at + 1 :]]


@cache
def options(command: str) -> tuple[str, ...]:
    """Return the options of a command, such as ``--trainer.max_steps``, with those of tasks and data modules."""
    if command not in COMMANDS:
        return ()
    if COMMANDS[command][0] == "run.cli":
        parsers: list[argparse.ArgumentParser] = [
            subcommand_parsers()[command],
            *(arguments_of(each, "model") for each in tasks.CONCRETE),
            *(arguments_of(each, "data") for each in data_modules()),
        ]
        parsers += [predict_shorthand()] if command == "predict" else []
    else:
        parsers = [importlib.import_module(f"gpt_lightning.commands.{COMMANDS[command][0]}").parser()]
        for action in parsers[0]._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    found = (name for parser in parsers for action in parser._actions for name in action.option_strings)
    return tuple(sorted({name for name in found if name.startswith("-") and not name.endswith("+")}))
