"""Reliability promises, and counts of the trials that tested them."""

import os
from collections import Counter
from collections.abc import Callable

import pytest

SOAK = bool(os.environ.get("SOAK"))

PROMISES = {
    "R1": "a run that was killed at any moment and resumed ends with the weights of an uninterrupted run",
    "R2": "the order of the data is exact at every point of resumption",
    "R3": "a run does not resume with changed data, tokenizer, seed, batch size or context length",
    "R4": "a checkpoint is written completely or not at all",
    "R5": "a full disk leaves the last checkpoint intact",
    "R6": "damaged files are detected before they are used",
    "R7": "SIGTERM and Ctrl-C finish the step, save a checkpoint, and exit with 143 and 130",
    "R8": "NaN and infinity are never saved",
    "R9": "a hostile checkpoint runs no code",
    "R10": "a YAML or a checkpoint imports only allowed packages",
    "R11": "two runs never share a folder",
    "R12": "a run fails at the start if its folder is not writable or the disk is too small",
    "R13": "a run without a training step is an error",
    "R14": "the same seed gives the same checkpoint files, byte for byte",
    "R15": "a run whose data loader worker dies reports the cause and can be resumed",
    "R16": "any text can be read and is written unchanged",
    "R17": "training opens no network port",
}
"""Promise -> its text in the report of ``make soak``."""

_tried: Counter[str] = Counter()
_held: Counter[str] = Counter()

Tally = Callable[[str, bool], None]


def tally(promise: str, held: bool) -> None:
    """Count one trial of a promise, and fail the test if it did not hold."""
    assert promise in PROMISES
    _tried[promise] += 1
    _held[promise] += held
    assert held, f"{promise}: {PROMISES[promise]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a table with the number of trials of each promise."""
    if SOAK and _tried:
        terminalreporter.section("promises")
        terminalreporter.write_line("| | promise | trials | held |\n|---|---|---|---|")
        for promise, text in PROMISES.items():
            if _tried[promise]:
                terminalreporter.write_line(f"| {promise} | {text} | {_tried[promise]} | {_held[promise]} |")


def many(quick: int, soak: int) -> int:
    """Return the number of trials: ``soak`` in ``make soak``, otherwise ``quick``."""
    return soak if SOAK else quick
