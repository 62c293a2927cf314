"""Mutated flags and files must end in work or in a short message, never in a traceback, an abort or a hang."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.conftest import SOAK, many, tally
from tests.reliability.fuzz.campaign import Campaign, draw
from tests.reliability.fuzz.check import fault
from tests.reliability.fuzz.inputs import Input
from tests.reliability.fuzz.kinds import KINDS
from tests.reliability.fuzz.runner import Outcome
from tests.reliability.fuzz.world import World

pytestmark = pytest.mark.reliability


def test_every_input_ends_in_work_or_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Test R19. ``FUZZ_SEED`` sets the seed; in ``make soak`` it is a new one each time."""
    seed = int(os.environ.get("FUZZ_SEED") or (random.SystemRandom().randrange(10**6) if SOAK else 0))
    campaign = Campaign(tmp_path, seed)
    report = campaign.run(range(many(10, 3200)), servers=many(1, 2))
    if SOAK:
        with capsys.disabled():
            print(f"\nfuzzer: FUZZ_SEED={seed}, {dict(report.tried)} inputs, {report.seconds:.0f} s")
    assert set(report.tried) == set(KINDS)
    for _ in range(report.tried.total() - report.counts.total()):
        tally("R19", True)
    tally("R19", not report.faults)
    assert draw(seed, 1, World(tmp_path / "world")) == draw(seed, 1, World(tmp_path / "world"))


GOOD = Outcome(0, "", 1.0, 2, 9, 400, "step 1\n", "", Path("folder"))
BAD = replace(GOOD, code=2, steps=0, calls=0, out="", err="gpt-lightning fit: no data\n")
TRACEBACK = """\
Traceback (most recent call last):
  File "/x/gpt_lightning/cli.py", line 1, in f
KeyError: 1
"""
PRINTED = replace(BAD, code=1, err=TRACEBACK)


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (GOOD, None),
        (BAD, None),
        (replace(GOOD, stopped="busy", code=-9), None),
        (replace(GOOD, stopped="hang", code=-9), "hang in fit"),
        (replace(BAD, code=-6), "signal 6 in fit"),
        (replace(BAD, code=3), "exit code 3 in fit"),
        (PRINTED, "traceback: KeyError in cli.py:f via gpt_lightning/cli.py:f"),
        (replace(GOOD, steps=0), "exit 0 without work in fit"),
        (replace(BAD, err=""), "no message from fit"),
        (replace(BAD, err="bad \x1b[31m"), "control character '\\x1b' in the message of fit"),
        (replace(BAD, err="x\n" * 20), "message of 20 lines from fit"),
        (replace(BAD, err="x" * 5000), "message line of 5,000 characters from fit"),
    ],
)
def test_the_fuzzer_finds_faults(outcome: Outcome, found: str | None) -> None:
    assert fault(Input(("fit",)), outcome) == found


def test_a_valid_input_must_succeed() -> None:
    assert fault(Input(("fit",), is_valid=True), BAD) == "a valid input was refused by fit"
