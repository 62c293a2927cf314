"""``gpt-lightning explain``: show which words a prediction depends on."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import check_new, json_bytes, output_file
from gpt_lightning.printable import for_stream
from gpt_lightning.status import status

if TYPE_CHECKING:
    from gpt_lightning.evaluation.explain.explanation import Explanation

_REMEDIES: Final = {"output": "Choose another file with --output", "json": "Choose another file with --json"}
_SHORT_NAMES: Final = {"data.test": "--input", "model.init_from": "--init_from"}


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning explain",
        description="Explain the predictions of a model: the contribution of each word, the words without which the "
        "prediction changes, and attention. For language models, also show the loss of each token and the prediction "
        "of each layer. It needs an extra package: pip install 'gpt-lightning[explain]'.",
        examples=["gpt-lightning explain logs/first_run/version_0 --text 'Last summer' --output explanation.html"],
    )
    p.add_model_argument()
    p.add_argument("--text", type=str | None, default=None, help="text to explain; - reads it from standard input")
    p.add_argument(
        "--input",
        type=str | None,
        default=None,
        metavar="FILE",
        help="rows to explain, with the columns of the training data; language models read the column prompt, text or "
        "messages; - reads JSON lines from standard input",
    )
    p.add_argument("--limit", type=int, default=10, help="maximum number of rows of --input to explain")
    p.add_argument(
        "--target",
        type=str | None,
        default=None,
        metavar="NAME",
        help="what to explain instead of the prediction: a label; a word, or WORD=TAG; an answer in the context; or, "
        "for language models, a continuation with its leading space",
    )
    p.add_argument(
        "--layers",
        type=str | None,
        default=None,
        metavar="NAMES",
        help="layers whose attention is shown, separated by commas, such as blocks.0.attention; by default the last "
        "ones, as far as they are not too large",
    )
    p.add_output_options("HTML page to write")
    p.add_argument(
        "--json", type=str | None, default=None, metavar="FILE", help="JSON file to write, with the same numbers"
    )
    p.add_loading_options()
    p.add_device_option()
    return p


def main(argv: list[str]) -> int:
    """Print a summary, and write the page and the JSON file that are named."""
    options = parser().parse_args(argv)
    if (options.text is None) == (options.input is None):
        raise InputError("give either --text TEXT or --input FILE")
    if options.limit < 1:
        raise InputError(f"--limit {options.limit} must be at least 1")
    for name, remedy in _REMEDIES.items():
        if (file := getattr(options, name)) is not None:
            check_new(Path(file), options.overwrite, remedy)
    if options.output is not None and options.output == options.json:
        raise InputError(f"--output and --json both name {options.output}. Give two files")

    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.api  # noqa: F401

    from gpt_lightning.evaluation.explain.attributions import check_captum
    from gpt_lightning.evaluation.explain.sentences import summary

    check_captum()
    explanations = _explain(options)
    print(for_stream("\n\n".join(map(summary, explanations))))
    _write(options, explanations)
    return 0


def _explain(options: Any) -> "list[Explanation]":
    from gpt_lightning.api import load
    from gpt_lightning.commands.run.command_line import naming_shorthand

    layers = None if options.layers is None else [name.strip() for name in options.layers.split(",") if name.strip()]
    model = load(options.model, device=options.device, init_from=options.init_from, allow_import=options.allow_import)
    with (
        _rows(options) as rows,
        naming_shorthand(_SHORT_NAMES, _SHORT_NAMES),
        contextlib.redirect_stdout(sys.stderr),  # data modules print what they read
    ):
        return model.explain(rows, target=options.target, layers=layers, limit=options.limit)


@contextlib.contextmanager
def _rows(options: Any) -> "Iterator[str | Path]":
    """Yield the text, or the file of rows; standard input is saved in a temporary file."""
    if options.text is not None:
        yield sys.stdin.buffer.read().decode(errors="replace") if options.text == "-" else options.text
    elif options.input != "-":
        yield Path(options.input)
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "input.jsonl")
            file.write_bytes(sys.stdin.buffer.read())
            yield file


def _write(options: Any, explanations: "list[Explanation]") -> None:
    if options.output is not None:
        from gpt_lightning.evaluation.explain.explanation_page import sections
        from gpt_lightning.pages.page import write_page

        title = f"Explanation of {options.model}"
        write_page(
            Path(options.output),
            title,
            sections(explanations),
            overwrite=options.overwrite,
            remedy=_REMEDIES["output"],
        )
        print(for_stream(f"page in {options.output}"))
    if options.json is not None:
        with output_file(Path(options.json), options.overwrite, _REMEDIES["json"]) as file:
            file.write(json_bytes([each.as_dict() for each in explanations], indent=None))
        print(for_stream(f"numbers in {options.json}"))
