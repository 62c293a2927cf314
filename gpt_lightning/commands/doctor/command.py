"""``gpt-lightning doctor``: versions, hardware and settings of this machine, and what to change."""

import json

from gpt_lightning.commands.parser import Parser


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning doctor",
        description="Show versions, hardware, the precision that fit chooses, free memory and free disk of this "
        "machine, and what to change. The exit code is 1 if training would not work or is not safe. Of the "
        "environment, only variables without secrets are read, so the output can be part of a bug report.",
        examples=["gpt-lightning doctor"],
    )
    p.add_argument("--json", action="store_true", help="print a JSON object for scripts")
    return p


def main(argv: list[str]) -> int:
    """Print the report; return 1 if there is a problem, else 0."""
    options = parser().parse_args(argv)

    from gpt_lightning.commands.doctor.advice import advice
    from gpt_lightning.commands.doctor.machine import this_machine
    from gpt_lightning.commands.doctor.report import as_json, report
    from gpt_lightning.output_files import finite
    from gpt_lightning.printable import for_stream

    machine = this_machine()
    found = advice(machine)
    if options.json:
        print(for_stream(json.dumps(finite(as_json(machine, found)), indent=1)))
    else:
        print(for_stream(report(machine, found)))
    return int(any(each.is_problem for each in found))
