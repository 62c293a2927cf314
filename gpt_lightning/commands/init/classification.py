"""Texts with labels: findings for text classification."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from gpt_lightning.commands.init.choice import Choice
from gpt_lightning.commands.init.columns import Columns
from gpt_lightning.commands.init.findings import Findings, count, counts, lengths, parse
from gpt_lightning.data import TextClassification
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import SequenceClassification

ROLES: Final = ("text", "label")
_FEW_LABELS: Final = 20
_ROWS_PER_LABEL: Final = 2
_UNBALANCED: Final = 5


def find(rows: Sequence[Row], columns: Columns) -> Findings:
    """Return the findings for rows of a text or a pair of texts with one label, or several labels in a list.

    Raises:
        InputError: the columns are not recognized, no row is valid, or the labels cannot be learned.
    """
    pair = columns.pair()
    if pair is not None:
        columns = Columns(rows, {**columns.flags, "text": pair[0]})
    text, label = columns.text_and_label()
    multi_label = any(isinstance(value, list) for value in columns.values(label))
    texts_of: dict[str, Any] = {"text_column": text} if pair is None else {"text_columns": pair}
    make = partial(TextClassification, **texts_of, label_column=label, multi_label=multi_label)
    examples, arguments = parse(make, rows)
    labels = Counter(name for example in examples for name in example.labels)
    _refuse_labels(labels, len(examples), label, rows[0])
    texts = [example.text for example in examples]
    named: dict[str, Any] = {**texts_of, "label_column": label}
    return Findings(
        task=SequenceClassification,
        module=TextClassification,
        arguments={**named, **arguments},
        model={"multi_label": Choice(True, f"{label!r} holds lists of labels")} if multi_label else {},
        texts=texts,
        num_labels=len(labels),
        summary=f"{count(len(examples), 'row')} with {counts(labels, 'label')} {lengths(texts)}",
        monitor=_monitor(labels),
    )


def _refuse_labels(labels: Counter[str], num_rows: int, column: str, first: Row) -> None:
    if len(labels) == 1:
        raise InputError(
            f"{first.where}: all {num_rows:,} rows have the label {next(iter(labels))!r} in {column!r}, so there is "
            "nothing to learn. Add rows with other labels, or name another column with --label_column"
        )
    if len(labels) > _FEW_LABELS and len(labels) * _ROWS_PER_LABEL > num_rows:
        raise InputError(
            f"{first.where}: {column!r} has {len(labels):,} different values in {num_rows:,} rows, too many for "
            "labels. Name another column with --label_column"
        )


def _monitor(labels: Counter[str]) -> Any:
    """Return the metric that chooses the best checkpoint."""
    (_, most), *_, (_, least) = labels.most_common()
    if most < _UNBALANCED * least:
        return "val/accuracy"
    why = f"labels occur {least:,} to {most:,} times; the mean F1 over labels counts rare ones as much as frequent ones"
    return Choice("val/macro_f1", why)
