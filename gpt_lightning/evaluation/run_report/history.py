"""Logged metrics and texts of a run, one JSON line for each step at which something was logged.

The file belongs to the run, not to its loggers, of which there may be any number. A resumed run removes the lines after
the step of its checkpoint, so that the history equals that of an uninterrupted run.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.bounded_files import json_value, open_regular
from gpt_lightning.output_files import json_line, replace_non_finite

FILE: Final = "history.jsonl"
_MAX_LINE_BYTES: Final = 2**22
_MAX_LINES: Final = 2_000_000
"""Lines that are read. A run that logs every 10 steps writes them in 20 million steps."""


@dataclass
class History:
    """Metrics and texts by tag, each a list of (step, value) in the order in which they were logged."""

    scalars: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def final_scalars(self) -> dict[str, float]:
        """Return the last value of each metric."""
        return {tag: points[-1][1] for tag, points in self.scalars.items()}


def append(run: Path, step: int, *, scalars: Mapping[str, float] = {}, texts: Mapping[str, str] = {}) -> None:
    """Append a line. NaN and infinity become null.

    Args:
        run: folder of the run.
        step: number of finished optimizer steps.
        scalars: tag -> value.
        texts: tag -> Markdown.

    Raises:
        OSError: the file cannot be written.
    """
    fields = {name: value for name, value in (("scalars", scalars), ("texts", texts)) if value}
    line = json_line(replace_non_finite({"step": step, **{name: dict(value) for name, value in fields.items()}}))
    with (run / FILE).open("ab") as file:
        # One write, so that a killed process leaves at most a part of the last line.
        file.write(line.encode(errors="replace"))


def restart(run: Path, step: int, source: Path) -> None:
    """Write the lines of ``source`` up to a step as the history of ``run``, and nothing if there are none.

    Args:
        run: folder of the run.
        step: last step to keep; 0 starts a new history.
        source: folder of the run whose checkpoint training resumes from, often ``run`` itself.

    Raises:
        OSError: the file cannot be written.
    """
    kept = [line for line in _lines(source / FILE) if line["step"] <= step] if step else []
    if kept or os.path.lexists(run / FILE):  # a symbolic link is replaced, not followed
        with atomic_write(run / FILE) as file:
            file.writelines(json_line(line).encode(errors="replace") for line in kept)


def read(run: Path) -> History:
    """Return the history of a run; empty if there is none. Damaged lines are left out."""
    history = History()
    for line in _lines(run / FILE):
        step = line["step"]
        for tag, value in _mapping(line, "scalars").items():
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
                number = float("nan") if value is None else float(value)
                history.scalars.setdefault(tag, []).append((float(step), number))
        for tag, text in _mapping(line, "texts").items():
            if isinstance(text, str):
                history.texts.setdefault(tag, []).append((step, text))
    return history


def _mapping(line: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = line.get(name)
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the intact lines of a history, which a stranger may have written."""
    try:
        file = open_regular(path)
    except OSError:
        return
    with file:
        for _ in range(_MAX_LINES):
            if not (text := file.readline(_MAX_LINE_BYTES)):
                return
            try:
                line = json_value(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and type(line.get("step")) is int and 0 <= line["step"] < 2**53:
                yield line
