"""``gpt-lightning schema``: print a JSON schema of configurations, with which editors check and complete them."""

import json
from importlib.metadata import version

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError


def parser() -> Parser:
    """Return the command's options."""
    return Parser(
        prog="gpt-lightning schema",
        description="Print a JSON schema of configurations. Editors use it to complete keys, explain them, and mark "
        "misspelled ones. In VS Code with its YAML extension, begin a configuration with this line:\n\n"
        "# yaml-language-server: $schema=gpt_lightning.schema.json",
        examples=["gpt-lightning schema > gpt_lightning.schema.json"],
    )


def main(argv: list[str]) -> int:
    """Print the schema."""
    parser().parse_args(argv)

    try:
        from jsonargparse import _completions_jsonschema  # noqa: F401
    except ImportError:
        # The module is private, so that another version may lack it.
        raise InputError(
            f"jsonargparse {version('jsonargparse')} makes no JSON schema. Install another version with: "
            "pip install 'jsonargparse>=4.53,<4.54'"
        ) from None
    from gpt_lightning.commands.run.json_schema import json_schema

    print(json.dumps(json_schema(), ensure_ascii=False, indent=1))
    return 0
