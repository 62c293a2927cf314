"""Verdict as a table and sentences on the console."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpt_lightning.evaluation.verdict.comparison import TFIDF, TRIVIAL
from gpt_lightning.evaluation.verdict.text_overlap import LENGTH
from gpt_lightning.printable import printable

_NAMES: Final = {TRIVIAL: "trivial", TFIDF: "TF-IDF"}


def print_verdict(verdict: Mapping[str, Any]) -> None:
    """Print a verdict: the model and its baselines, then a sentence for each finding."""
    console = Console(highlight=False)
    metric = verdict.get("metric")
    if metric is not None:
        console.print(_table(verdict, metric))
    for line in lines(verdict):
        console.print(Text(printable(line)), soft_wrap=True)


def _table(verdict: Mapping[str, Any], metric: str) -> Table:
    """Return the headline score of the model and of each baseline, and the model's score minus the baseline's."""
    table = Table("", metric, "95 % interval", "difference", "95 % interval")
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    table.add_row("model", *_estimate(verdict["scores"][metric]))
    for key in reversed(verdict["baselines"]):
        result = verdict["baselines"][key]["scores"].get(metric)
        if result is not None:
            table.add_row(_NAMES[key], *_estimate(result["baseline"]), *_estimate(result["difference"]))
    return table


def _estimate(estimate: Mapping[str, Any]) -> tuple[str, str]:
    low, high = estimate["interval"]
    return _number(estimate["value"]), "-" if low is None else f"{_number(low)} to {_number(high)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def lines(verdict: Mapping[str, Any]) -> Iterator[str]:
    """Yield the findings of a verdict, a sentence each."""
    yield from verdict.get("sentences", [])
    if (found := verdict.get("calibration")) is not None:
        yield from _calibration(found)
    if (found := verdict.get("overlap")) is not None:
        yield from _overlap(found)
    if (found := verdict.get("text_overlap")) is not None:
        yield from _text_overlap(found)
    if (found := verdict.get("learning_curve")) is not None:
        yield _learning_curve(found, verdict["metric"])
    yield from verdict["notes"]


def _calibration(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"Expected calibration error: {_number(found['error'])} (15 bins of equal width)."
    if "temperature" in found:
        yield (
            f"With the temperature {_number(found['temperature'])}, fitted on the validation rows, it is "
            f"{_number(found['after']['error'])}. The predicted labels stay the same."
        )


def _overlap(found: Mapping[str, Any]) -> Iterator[str]:
    total = found["test_rows"]
    if found["exact"]:
        yield f"{_rows(found['exact'], total)} also in the training rows, such as {found['exact_places'][0]}."
    if found["near"]:
        yield f"{_rows(found['near'], total)} nearly in the training rows, such as {found['near_places'][0]}."
    if not found["exact"] and not found["near"]:
        nearly = "" if found["near"] is None else ", exactly or nearly"
        yield f"None of the {total:,} test rows is in the training rows{nearly}."
    if found["near"] is None:
        yield "To search near duplicates, install datasketch: pip install 'gpt-lightning[verdict]'"
    if found["contradictory_train_rows"]:
        yield (
            f"{found['contradictory_train_rows']:,} training rows have a text that occurs with different labels, such "
            f"as {found['contradictory_places'][0]}."
        )
    if found["contradicted_test_rows"]:
        yield f"{found['contradicted_test_rows']:,} test rows have another label than the same text in training."


def _rows(count: int, total: int) -> str:
    return f"{count:,} of {total:,} test rows ({count / total:.1%}) {'is' if count == 1 else 'are'}"


def _text_overlap(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["num_passages"]:
        return
    part = "" if found["is_complete"] else " Only the beginning of the texts was compared."
    yield (
        f"{found['num_found']:,} of {found['num_passages']:,} passages of {LENGTH} characters of the tested text "
        f"({found['num_found'] / found['num_passages']:.1%}) occur in the training text.{part}"
    )


def _learning_curve(found: Mapping[str, Any], metric: str) -> str:
    points = ", ".join(
        f"{_number(score)} ({rows:,} rows)" for rows, score in zip(found["rows"], found["scores"], strict=True)
    )
    gain, (low, high) = found["gain"], found["interval"]
    change = "cannot be estimated" if gain is None or low is None else f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"
    return (
        f"Learning curve of TF-IDF, {metric}: {points}. Extrapolated change with twice the rows: {change}. The curve "
        "of the model may differ."
    )
