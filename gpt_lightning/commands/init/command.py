"""``gpt-lightning init``: inspect a file and print a configuration that trains on it."""

from typing import Any, Final, Literal

from gpt_lightning.commands import shipped_configs
from gpt_lightning.commands.parser import Parser
from gpt_lightning.commands.reading_options import unprefixed_options
from gpt_lightning.errors import InputError

TaskName = Literal["chat", "classification", "sentiment", "ner", "qa", "pretrain"]
_ROLES: Final = (
    *("text", "label", "tokens", "tags", "spans", "question", "context", "answers", "messages", "source", "target"),
)


def main(argv: list[str]) -> int:
    """Print the configuration for a file to standard output.

    Raises:
        InputError: the file cannot be read, its columns are not recognized, or it holds nothing to learn.
    """
    options = parser().parse_args(argv)
    if options.list:
        print(shipped_configs.listing())
        return 0
    if options.task is None or not options.train:
        raise InputError("give a task and a file, as in gpt-lightning init classification --train reviews.csv")
    if any(name.startswith("hub:") for name in options.train):
        raise InputError("--train: init reads only local files. Download the dataset, or start from a shipped YAML")
    with unprefixed_options():
        configuration = _configuration(options)
    print(configuration, end="")
    return 0


def parser() -> Parser:
    """Return the parser of the command."""
    p = Parser(
        prog="gpt-lightning init",
        usage="gpt-lightning init TASK --train FILE [options]",
        description="Inspect a file and print a short YAML configuration that trains on it. Columns, batch size, block "
        "size and epochs are chosen to fit the file, and comments explain the choices. Nothing is downloaded.",
        examples=[
            "gpt-lightning init classification --train data/toy_world/classification/train.jsonl > topics.yaml",
            "gpt-lightning fit -c topics.yaml",
        ],
    )
    p.add_argument(
        "task",
        type=TaskName | None,
        nargs="?",
        metavar="TASK",
        help="chat, classification (or sentiment), ner, qa or pretrain",
    )
    p.add_argument(
        "--train",
        type=str,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files, folders or globs: .txt, .jsonl, .json, .csv, .tsv, .parquet or .conll, each also with .gz",
    )
    p.add_argument(
        "--validation", type=str | None, metavar="FILE", help="validation data; without it, training rows are held out"
    )
    p.add_argument("--model", type=str | None, help="model folder or run to start from; without it, train from scratch")
    for role in _ROLES:
        p.add_argument(f"--{role}_column", type=str | None, metavar="NAME", help=f"column with the {role}")
    p.add_argument(
        "--delimiter", type=str | None, help="character between the fields of CSV and TSV files; by default detected"
    )
    p.add_argument(
        "--encoding", type=str | None, help="character encoding of text files, such as cp1252; by default detected"
    )
    p.add_argument("--list", action="store_true", help="list the shipped configurations, which -c takes by name")
    return p


def _configuration(options: Any) -> str:
    """Return the YAML for the user's options."""
    from gpt_lightning.commands.init import heads, pretrain
    from gpt_lightning.commands.init.base_model import BaseModel
    from gpt_lightning.commands.init.document import write
    from gpt_lightning.data.sources.source import ReadOptions, resolve

    reading = {name: options[name] for name in ("delimiter", "encoding") if options[name] is not None}
    read_options = ReadOptions(**reading)
    flags = {role: options[f"{role}_column"] for role in _ROLES if options[f"{role}_column"] is not None}
    roles = pretrain.ROLES if options.task == "pretrain" else heads.FINDERS[options.task].ROLES
    if unused := sorted(flags.keys() - set(roles)):
        raise InputError(f"--{unused[0]}_column has no effect on {options.task}. Leave it out")
    resolve(options.train, "--train")
    has_validation = options.validation is not None
    if has_validation:
        resolve(options.validation, "--validation")
    base = None if options.model is None else BaseModel.read(options.model)
    if options.task == "pretrain":
        draft = pretrain.draft(options.train, flags.get("text"), base, has_validation, read_options)
    else:
        draft = heads.draft(heads.FINDERS[options.task], options.train, flags, base, has_validation, read_options)
    return write(draft, options.task, options.train, options.validation, reading)
