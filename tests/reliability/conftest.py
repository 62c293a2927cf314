"""Reliability guarantees, and counts of the trials that tested them."""

import os
from collections import Counter
from collections.abc import Callable

import pytest

SOAK = bool(os.environ.get("SOAK"))

GUARANTEES = {
    "R1": "a killed and resumed run ends with the same weights as an uninterrupted run",
    "R2": "a resumed run reads the same rows in the same order, wherever it stopped",
    "R3": "a run does not resume if the data, tokenizer, seed, batch size or context length has changed",
    "R4": "a checkpoint is written completely or not at all",
    "R5": "a full disk leaves the last checkpoint intact",
    "R6": "damaged files are detected before they are used",
    "R7": "on SIGTERM or Ctrl-C, a run finishes the step, saves a checkpoint, and exits with 143 or 130",
    "R8": "NaN and infinity are never saved",
    "R9": "a hostile checkpoint runs no code",
    "R10": "a YAML file or a checkpoint imports no package that the command line does not allow",
    "R11": "two runs never write to the same folder",
    "R12": "a run fails at the start if its folder is not writable or the disk is too small",
    "R13": "a command that does no work, such as a run without a training step, ends with an error",
    "R14": "the same seed gives the same checkpoint files, byte for byte",
    "R15": "if a data loader worker dies, the run reports the cause, and it can be resumed",
    "R16": "any text can be read, tokenized, and written without loss",
    "R17": "training on one device opens no network port; several devices of one machine use loopback only",
    "R18": "each run has a folder of its own, whichever logger it uses",
    "R19": "no input ends in a traceback, an abort of the process or a hang",
    "R20": "a YAML file or a checkpoint of a stranger runs no code of the allowed packages beyond the listed classes",
    "R21": "exports and predictions are written completely or not at all",
    "R22": "a run without some rows ends with the weights of a run that has never read their text or labels",
}
"""Guarantee -> its text in the report of ``make soak``."""

_tried: Counter[str] = Counter()
_held: Counter[str] = Counter()

Tally = Callable[[str, bool], None]


def tally(guarantee: str, held: bool) -> None:
    """Count one trial of a guarantee, and fail the test if it did not hold."""
    assert guarantee in GUARANTEES
    _tried[guarantee] += 1
    _held[guarantee] += held
    assert held, f"{guarantee}: {GUARANTEES[guarantee]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a table with the number of trials of each guarantee."""
    if SOAK and _tried:
        terminalreporter.section("guarantees")
        terminalreporter.write_line("| | guarantee | trials | held |\n|---|---|---|---|")
        for guarantee, text in GUARANTEES.items():
            if _tried[guarantee]:
                terminalreporter.write_line(f"| {guarantee} | {text} | {_tried[guarantee]} | {_held[guarantee]} |")


def many(quick: int, soak: int) -> int:
    """Return the number of trials: ``soak`` in ``make soak``, otherwise ``quick``."""
    return soak if SOAK else quick
