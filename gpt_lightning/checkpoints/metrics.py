"""Reading of ``metrics.json``, the test metrics in the folder of a run or of a model."""

from pathlib import Path
from typing import Any, Final

from gpt_lightning.bounded_files import read_json_object
from gpt_lightning.errors import InputError

_FIELDS: Final = {"task", "checkpoint", "data", "metrics"}


def read_metrics(file: Path, remedy: str) -> dict[str, Any]:
    """Return the content of a ``metrics.json``.

    Args:
        file: path of the file.
        remedy: advice for the error, as a sentence without its period.

    Raises:
        InputError: it is missing, damaged, or has fields of other types than the file that a test writes.
    """
    record = read_json_object(file, remedy)
    metrics = record.get("metrics")
    if (
        not record.keys() >= _FIELDS
        or not isinstance(metrics, dict)
        or not all(value is None or type(value) in (int, float) for value in metrics.values())
    ):
        raise InputError(f"{file}: damaged. {remedy}")
    return record
