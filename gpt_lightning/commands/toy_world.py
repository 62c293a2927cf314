"""``gpt-lightning toy-world``: write the toy world's files."""

from gpt_lightning.commands.parser import Parser


def main(argv: list[str]) -> int:
    """Write the toy world below a folder."""
    p = Parser(
        prog="gpt-lightning toy-world",
        description="Write the toy world: short English passages to pretrain on (text/), and labelled rows of the same "
        "world (classification/, sentiment/, ner/, qa/). Nothing is downloaded; a seed decides everything.",
    )
    p.add_argument("folder", type=str, help="where to write; left alone if the same world is there already")
    p.add_argument("--seed", type=int, default=0, help="another seed, another world")
    options = p.parse_args(argv)

    from pathlib import Path

    from gpt_lightning.errors import InputError
    from gpt_lightning.toy_world.write import write

    try:
        written = write(Path(options.folder), seed=options.seed)
    except OSError as error:
        raise InputError(f"cannot write to {options.folder}: {error.strerror}") from None
    print(f"{options.folder}: {'written' if written else 'already there'}")
    return 0
