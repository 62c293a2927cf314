"""``gpt-lightning schema``: print a JSON schema of configurations, with which editors check and complete them."""

import json

from gpt_lightning.commands.parser import Parser


def parser() -> Parser:
    """Return the command's options."""
    return Parser(
        prog="gpt-lightning schema",
        description="Print a JSON schema of configurations. Editors use it to complete keys, explain them, and mark "
        "mistyped ones. In VS Code with its YAML extension, begin a configuration with "
        "# yaml-language-server: $schema=gpt_lightning.schema.json",
        examples=["gpt-lightning schema > gpt_lightning.schema.json"],
    )


def main(argv: list[str]) -> int:
    """Print the schema."""
    parser().parse_args(argv)

    from gpt_lightning.commands.run.json_schema import json_schema

    print(json.dumps(json_schema(), ensure_ascii=False, indent=1))
    return 0
