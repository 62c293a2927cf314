"""How often each promise was tried, and how often it held."""

import os
from collections import Counter
from collections.abc import Callable

import pytest

SOAK = bool(os.environ.get("SOAK"))

PROMISES = {
    "R1": "killed at any moment and resumed, a run ends where the uninterrupted one ends",
    "R2": "the order of data is exact at every boundary",
    "R3": "changed data, tokenizer, seed, batch or context refuses to resume",
    "R4": "a checkpoint is written whole or not at all",
    "R5": "a full disk leaves the last good checkpoint",
    "R6": "damage is found before it is used",
    "R7": "SIGTERM and Ctrl-C finish the step, save, and exit 143 and 130",
    "R8": "nan and infinity never reach saved weights",
    "R9": "a hostile checkpoint runs nothing",
    "R10": "a YAML or a checkpoint imports nothing that was not allowed",
    "R11": "two runs never mix in one folder",
    "R12": "a target that cannot be written, or lacks room, fails at the start",
    "R13": "zero steps is an error",
    "R14": "same seed, same bytes",
    "R15": "a worker process that dies stops the run with its cause, resumable",
    "R16": "any text survives",
    "R17": "training opens no port",
}

_tried: Counter[str] = Counter()
_survived: Counter[str] = Counter()

Tally = Callable[[str, bool], None]


def tally(promise: str, held: bool) -> None:
    """Count one try, and fail the test if the promise did not hold."""
    assert promise in PROMISES
    _tried[promise] += 1
    _survived[promise] += held
    assert held, f"{promise}: {PROMISES[promise]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a promise."""
    if SOAK and _tried:
        terminalreporter.section("promises")
        terminalreporter.write_line("| | promise | tried | survived |\n|---|---|---|---|")
        for promise, words in PROMISES.items():
            if _tried[promise]:
                terminalreporter.write_line(f"| {promise} | {words} | {_tried[promise]} | {_survived[promise]} |")


def many(quick: int, soak: int) -> int:
    """How often to try: a few times in every test run, all in ``make soak``."""
    return soak if SOAK else quick
