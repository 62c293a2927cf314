"""Invalid rows: whether they stop the run, and how many were skipped by cause."""

import re
from collections import Counter
from typing import Literal

OnBadRow = Literal["stop", "skip"]


def cause(error: Exception) -> str:
    """Return the cause in a message, without location, values and remedy, so that errors of the same kind are equal."""
    reason = str(error).partition(": ")[2]  # every message starts with its location
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", reason).partition("; ")[0][:160]


def skipped_line(causes: Counter[str], num_rows: int) -> str:
    """Return the line about skipped rows.

    Args:
        causes: number of skipped rows by cause.
        num_rows: number of all rows.
    """
    reasons = ", ".join(f"{count:,} x {reason}" for reason, count in causes.most_common())
    return f"skipped {causes.total():,} of {num_rows:,} rows: {reasons}"
