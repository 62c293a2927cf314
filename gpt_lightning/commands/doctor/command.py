"""``gpt-lightning doctor``: versions, hardware and settings of this machine, and what to change."""

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_lightning.commands.parser import Parser


def parser() -> "Parser":
    """Return the command's options."""
    from gpt_lightning.commands.parser import Parser

    p = Parser(
        prog="gpt-lightning doctor",
        description="Show versions, hardware, free memory and free disk of this machine, the precision that fit "
        "chooses, and what to change. The exit code is 1 if training would not work or would not be safe. Only "
        "environment variables without secrets are read, so you can add the output to a bug report.",
        examples=["gpt-lightning doctor"],
    )
    _add_options(p)
    return p


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print a JSON object for scripts")


def _options(argv: list[str]) -> argparse.Namespace:
    """Return the parsed options, also where the packages of the usual parser are missing, which the report says."""
    try:
        p: argparse.ArgumentParser = parser()
    except Exception:  # a broken installation raises anything
        p = argparse.ArgumentParser(prog="gpt-lightning doctor")
        _add_options(p)
    return p.parse_args(argv)


def main(argv: list[str]) -> int:
    """Print the report; return 1 if there is a problem, else 0."""
    options = _options(argv)

    from gpt_lightning.commands.doctor.advice import advice
    from gpt_lightning.commands.doctor.machine import this_machine
    from gpt_lightning.commands.doctor.report import as_json, report
    from gpt_lightning.output_files import replace_non_finite
    from gpt_lightning.printable import for_stream

    machine = this_machine()
    found = advice(machine)
    if options.json:
        print(for_stream(json.dumps(replace_non_finite(as_json(machine, found)), indent=1)))
    else:
        print(for_stream(report(machine, found)))
    return int(any(each.is_problem for each in found))
