"""``gpt-lightning inspect``: check the data of a configuration before training on it."""

from pathlib import Path
from typing import Final

from gpt_lightning.commands.guard.config_guard import check
from gpt_lightning.commands.parser import ParserWithPage
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import check_new

_REMEDY: Final = "Choose another file with --output"
_MAX_ROWS: Final = 100


def parser() -> ParserWithPage:
    """Return the command's own options; all others are those of ``fit``."""
    p = ParserWithPage(
        allow_abbrev=False,
        prog="gpt-lightning inspect",
        usage="gpt-lightning inspect -c FILE [options] [options of fit]",
        description="Show the data of a configuration as fit would read it: decoded tokens, which of them are trained, "
        "labels, lengths, padding, duplicates, and rows that are cut or invalid. Nothing is trained, and no run folder "
        "is created. The exit code is 1 if there is a problem, such as a label that never occurs in train. All other "
        "options are those of fit.",
    )
    p.examples = ["gpt-lightning inspect -c logs/first_run/version_0/config.yaml"]
    p.add_argument("--rows", type=int, default=3, help="rows of each split to show")
    p.add_argument("--output", metavar="FILE", help="HTML page to write; it ends in .html")
    p.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
    return p


def main(argv: list[str]) -> int:
    """Print what the data looks like; return 1 if there is a problem, else 0."""
    options, fit_arguments = parser().parse_known_args(argv)
    if not 0 <= options.rows <= _MAX_ROWS:
        raise InputError(f"--rows {options.rows} must be from 0 to {_MAX_ROWS}")
    if not fit_arguments:
        raise InputError("no configuration. Give one, as in gpt-lightning inspect -c FILE")
    output = None if options.output is None else Path(options.output)
    if output is not None and output.suffix != ".html":
        raise InputError(f"--output {output} must end in .html")
    if output is not None:
        check_new(output, options.overwrite, _REMEDY)
    check(["fit", *fit_arguments])  # again in data_module; this one comes before the slow imports

    from gpt_lightning.commands.inspect.terminal import show
    from gpt_lightning.commands.run.data_only import data_module
    from gpt_lightning.evaluation.inspection.findings import findings
    from gpt_lightning.evaluation.inspection.inspection import inspect_data
    from gpt_lightning.evaluation.inspection.inspection_page import write_inspection

    data = data_module(fit_arguments)
    inspection = inspect_data(data, num_shown=options.rows)
    found = findings(inspection)
    show(inspection, found, data.tokenizer)
    if output is not None:
        write_inspection(output, inspection, found, data.tokenizer, overwrite=options.overwrite, remedy=_REMEDY)
    return int(any(each.is_problem for each in found))
