"""``gpt-lightning compare``: several runs on one page."""

from pathlib import Path
from typing import Any, Final

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import check_new
from gpt_lightning.printable import for_stream, printable
from gpt_lightning.text_tables import text_table

_FILES: Final = ("config.yaml", "history.jsonl", "report.json", "metrics.json")
"""Files of which a run has at least one."""
_REMEDY: Final = "Choose another file with --output"


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning compare",
        description="Write one HTML page about several runs: their final metrics, the settings, data and versions in "
        "which they differ, and a chart for each metric with a line for each run. Nothing is trained or tested. A run "
        "that is still training is shown up to its last logged step.",
        examples=["gpt-lightning compare logs/first_run/version_0 logs/first_run/version_1"],
    )
    p.add_argument("runs", type=str, nargs="+", metavar="RUN", help="run folders, such as logs/EXPERIMENT/version_N")
    p.add_argument("--output", type=str, default="comparison.html", metavar="FILE", help="HTML file to write")
    p.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
    return p


def main(argv: list[str]) -> int:
    """Print the final metrics, and write the page."""
    options = parser().parse_args(argv)
    output = Path(options.output)
    if output.suffix not in (".html", ".htm"):
        raise InputError(f"--output {output} must end in .html")
    check_new(output, options.overwrite, _REMEDY)
    for run in map(Path, options.runs):
        if not any((run / name).is_file() for name in _FILES):
            raise InputError(
                f"{run}: not a run folder, as it has none of {', '.join(_FILES)}. Give logs/EXPERIMENT/version_N"
            )

    from gpt_lightning.evaluation.run_report.comparison import comparison, final_metrics, metric_names, run_names
    from gpt_lightning.evaluation.run_report.files import RunFiles
    from gpt_lightning.pages.page import write_page

    files = {name: RunFiles.read(Path(run)) for name, run in zip(run_names(options.runs), options.runs, strict=True)}
    title = "Run" if len(files) == 1 else f"Comparison of {len(files)} runs"
    write_page(output, title, comparison(files), overwrite=options.overwrite, remedy=_REMEDY)
    rows = [["run", *metric_names(files)], *([_cell(value) for value in row] for row in final_metrics(files))]
    print(for_stream("\n".join(text_table(rows, num_left=1))))
    print(printable(f"wrote {output}"))
    return 0


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
