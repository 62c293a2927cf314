"""Rows of predictions: the records of a task with the texts that they are about."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_TEXTS: Final = {"texts": "text", "questions": "question", "contexts": "context"}
"""Key of a batch with the texts of its rows -> key of each text in a row of predictions."""


def with_texts(records: Sequence[Mapping[str, Any]], batch: Any) -> list[dict[str, Any]]:
    """Return the records of ``predict_step`` with the texts of their rows after the id.

    Args:
        records: a record for each row of the batch, in order.
        batch: the batch. Without a text for each record, as in language modeling, the records stay the same.
    """
    given = batch if isinstance(batch, Mapping) else {}
    columns = {name: given[key] for key, name in _TEXTS.items() if len(given.get(key, ())) == len(records)}
    return [
        {
            **({"id": record["id"]} if "id" in record else {}),
            **{name: texts[row] for name, texts in columns.items()},
            **record,
        }
        for row, record in enumerate(records)
    ]
