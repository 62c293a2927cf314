"""``gpt-lightning bias``: measure stereotypes of a language model, or gaps between predictions for two groups."""

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import check_new, json_bytes, output_file
from gpt_lightning.printable import for_stream
from gpt_lightning.status import progress, status

if TYPE_CHECKING:
    from gpt_lightning.api import Model
    from gpt_lightning.data.labeled import Labeled
    from gpt_lightning.pages.page import Section

_REMEDY: Final = "Choose another file with --output"
_READING: Final = ("batch_size", "delimiter", "encoding", "align", "normalize", "max_question_tokens", "stride")
"""Arguments of data modules that a user may set, in addition to those that name columns."""


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning bias",
        description="Measure bias. For a language model, --pairs compares the likelihoods of stereotypical and other "
        "sentences, as in CrowS-Pairs. For a model with a head, --input swaps pronouns, nouns and first names of two "
        "groups in each row, and compares the predictions.",
        examples=[
            "gpt-lightning bias logs/sentiment/version_0 --input rows.jsonl --output gaps.html",
            "gpt-lightning bias logs/first_run/version_0 --pairs crows_pairs.jsonl",
        ],
    )
    p.add_model_argument()
    p.add_argument(
        "--pairs",
        type=str | None,
        default=None,
        metavar="FILE",
        help="sentence pairs with the columns sent_more and sent_less, and optionally bias_type and direction; or "
        "hub:OWNER/NAME",
    )
    p.add_argument(
        "--input",
        type=str | None,
        default=None,
        metavar="FILE",
        help="rows with the columns of the training data, with or without labels",
    )
    p.add_argument(
        "--swaps",
        type=str,
        default="gender",
        metavar="NAME|FILE",
        help="words to swap in --input: gender, race_names, or a YAML or JSON file with groups and pairs",
    )
    p.add_argument(
        "--data",
        type=dict[str, int | list[str] | str],
        default={},
        metavar="KEY=VALUE",
        help="arguments of the data module that reads --input, such as --data.text_column review",
    )
    p.add_argument("--batch_tokens", type=int, default=2048, help="tokens per batch of --pairs, with padding")
    p.add_loading_options()
    p.add_device_option()
    p.add_output_options("file for the report; it ends in .html or .json")
    return p


def main(argv: list[str]) -> int:
    """Print a report, and write it if an output file is given."""
    options = parser().parse_args(argv)
    if (options.pairs is None) == (options.input is None):
        raise InputError("give either --pairs FILE, for a language model, or --input FILE, for a model with a head")
    if options.batch_tokens < 1:
        raise InputError(f"--batch_tokens {options.batch_tokens} must be at least 1")
    output = None if options.output is None else Path(options.output)
    if output is not None and output.suffix not in (".html", ".json"):
        raise InputError(f"--output {output} must end in .html or .json")
    if output is not None:
        check_new(output, options.overwrite, _REMEDY)

    with status("Loading PyTorch and Lightning"):
        import gpt_lightning.api  # noqa: F401

    if options.pairs is not None:
        text, record, sections = _measure_pairs(options)
    else:
        text, record, sections = _measure_gaps(options)
    print(for_stream(text))
    if output is not None:
        _write(output, options, record, sections)
    return 0


def _measure_pairs(options: Any) -> "tuple[str, dict[str, Any], list[Section]]":
    """Return the printed report on sentence pairs, its record for JSON, and its sections for HTML."""
    from gpt_lightning.evaluation.bias.pair_preference import pair_report, score_pairs
    from gpt_lightning.evaluation.bias.report_page import pair_sections
    from gpt_lightning.evaluation.bias.report_tables import as_text, notes, pair_tables
    from gpt_lightning.evaluation.bias.sentence_pairs import read_pairs
    from gpt_lightning.tasks import CausalLM

    pairs = read_pairs(options.pairs)
    model = _load(options)
    if not isinstance(model.task, CausalLM):
        raise InputError(
            f"{model.path} holds a {type(model.task).__name__}, but only a CausalLM scores --pairs. "
            "Give rows with --input, or a language model"
        )
    with progress("Scoring the pairs", len(pairs)) as advance:
        scored = score_pairs(model.task, model.tokenizer, pairs, batch_tokens=options.batch_tokens, advance=advance)
    report = pair_report(scored)
    text = as_text(pair_tables(report), notes(report))
    return text, asdict(report) | {"notes": notes(report)}, pair_sections(report)


def _measure_gaps(options: Any) -> "tuple[str, dict[str, Any], list[Section]]":
    """Return the printed report on swapped words, its record for JSON, and its sections for HTML."""
    from gpt_lightning.data.sources.source import read_rows
    from gpt_lightning.data.word_swaps.load import load_swaps
    from gpt_lightning.evaluation.bias.report_page import gap_sections
    from gpt_lightning.evaluation.bias.report_tables import as_text, gap_tables, notes
    from gpt_lightning.evaluation.bias.swap_gaps import compare_rows, gap_report, swappable_rows

    swaps = load_swaps(options.swaps, "--swaps")
    model = _load(options)
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        module = _data_module(model, options, Path(folder))
        rows = read_rows(options.input, split="test", key="--input", options=module.read_options)
        swappable = swappable_rows(module, rows, swaps, options.input)
        with progress("Predicting rows and twins", 2 * len(swappable.examples)) as advance:
            compared = compare_rows(model.task, module, swappable, swaps, advance)
    report = gap_report(compared, swappable, swaps.groups)
    text = as_text(gap_tables(report), notes(report))
    return text, asdict(report) | {"notes": notes(report)}, gap_sections(report, swaps)


def _load(options: Any) -> "Model":
    from gpt_lightning.api import load

    return load(options.model, device=options.device, init_from=options.init_from, allow_import=options.allow_import)


def _data_module(model: "Model", options: Any, folder: Path) -> "Labeled[Any]":
    """Return the data module that reads the rows.

    Raises:
        InputError: the model has no head whose predictions can be compared, or an option is invalid.
    """
    from gpt_lightning.data.labeled import Labeled
    from gpt_lightning.evaluation.data_module import data_module_for
    from gpt_lightning.tasks.saving import accepted_arguments

    kind = model.data_module
    name = type(model.task).__name__
    if kind is None or not issubclass(kind, Labeled) or kind.swapped is Labeled.swapped:
        raise InputError(
            f"{model.path} holds a {name}, whose rows cannot be compared after a swap of words. Give a model with a "
            "head for classification, regression, tags or questions, or score a language model with --pairs"
        )
    accepted = [each for each in accepted_arguments(kind) if each.endswith(("_column", "_columns")) or each in _READING]
    if unknown := sorted(set(options.data) - set(accepted)):
        raise InputError(
            f"--data.{unknown[0]}: {kind.__name__} cannot read rows with this argument. Use one of "
            + ", ".join(sorted(accepted))
        )
    tokenizer = folder / "tokenizer.json"
    model.tokenizer.save(tokenizer)
    fixed = {"tokenizer": str(tokenizer), "cache_dir": str(folder)}
    module = data_module_for(model.task, kind, model.data_settings, {**options.data, **fixed})
    assert isinstance(module, Labeled)
    return module


def _write(output: Path, options: Any, record: dict[str, Any], sections: "list[Section]") -> None:
    from gpt_lightning.pages.page import write_page

    if output.suffix == ".html":
        write_page(output, f"Bias of {options.model}", sections, overwrite=options.overwrite, remedy=_REMEDY)
        return
    source = {"pairs": options.pairs} if options.pairs is not None else {"input": options.input, "swaps": options.swaps}
    with output_file(output, options.overwrite, _REMEDY) as file:
        file.write(json_bytes({"model": options.model, **source, **record}))
