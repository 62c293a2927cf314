"""Reading of verdicts in ``metrics.json``, which may come from a stranger."""

import math
from typing import Any


def why_not_beaten(record: Any, baseline: str) -> str | None:
    """Return why a model does not beat a baseline; None if it does.

    Args:
        record: content of ``metrics.json``.
        baseline: ``tfidf`` or ``trivial``.
    """
    metric = _at(record, "verdict", "metric")
    result = _at(record, "verdict", "baselines", baseline, "scores", metric)
    if _at(result, "is_better") is True:
        return None
    if result is None:
        notes = _at(record, "verdict", "notes")
        reasons = [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
        return " ".join(["the baseline is missing.", *reasons])
    interval = _interval(_at(result, "difference", "interval"))
    if interval is None:
        return f"the {metric} of the model or of the baseline is undefined."
    return (
        f"the model does not beat the baseline: model minus baseline is {interval[0]:.4g} to {interval[1]:.4g} in "
        f"{metric} (95 % interval)."
    )


def interval_of(record: Any, metric: str) -> tuple[float, float] | None:
    """Return the 95 % interval of a metric; None if the record has none."""
    return _interval(_at(record, "verdict", "scores", metric, "interval"))


def _interval(value: Any) -> tuple[float, float] | None:
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    if not is_pair or not all(type(each) in (int, float) and math.isfinite(each) for each in value):
        return None
    return float(value[0]), float(value[1])


def _at(value: Any, *keys: Any) -> Any:
    """Return the value at a path of keys; None if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) and isinstance(key, str) else None
    return value
