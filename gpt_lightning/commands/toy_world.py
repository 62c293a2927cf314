"""``gpt-lightning toy-world``: write the files of the toy world."""

from gpt_lightning.commands.parser import Parser


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning toy-world",
        description="Write the toy world: short English passages to pretrain on (text/), and labeled rows about the "
        "same people and places (classification/, sentiment/, liking/, entailment/, ner/, qa/, answers/). Nothing is "
        "downloaded.",
        examples=["gpt-lightning toy-world data/toy_world"],
    )
    p.add_argument(
        "folder", type=str, metavar="DIR", help="folder to write to; nothing changes if it already has the same world"
    )
    p.add_argument(
        "--seed", type=int, default=0, help="seed of all random choices; the same seed writes the same files"
    )
    return p


def main(argv: list[str]) -> int:
    """Write the toy world into a folder."""
    options = parser().parse_args(argv)

    from pathlib import Path

    from gpt_lightning.toy_world.write import write

    written = write(Path(options.folder), seed=options.seed)
    print(f"{options.folder}: {'written' if written else 'already there'}")
    return 0
