"""Learning-rate schedules, compared with values computed by hand."""

from itertools import pairwise
from typing import Any

import pytest

from gpt_lightning.errors import InputError
from gpt_lightning.optim import Schedule

ROOT_HALF = 0.5**0.5


@pytest.mark.parametrize(
    ("settings", "run_steps", "expected"),
    [
        ({"kind": "constant", "warmup_steps": 4}, 20, {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 1.0, 19: 1.0, 99: 1.0}),
        ({"kind": "constant", "warmup_steps": 0}, 20, {0: 1.0, 19: 1.0}),
        # The decay ends at the end of the run, and the rate stays constant after it.
        (
            {"kind": "linear", "warmup_steps": 4, "min_ratio": 0.1},
            14,
            {0: 0.2, 3: 0.8, 4: 1.0, 5: 0.91, 9: 0.55, 13: 0.19, 14: 0.1, 99: 0.1},
        ),
        ({"kind": "linear", "warmup_steps": 0, "min_ratio": 0.0}, 4, {0: 1.0, 1: 0.75, 2: 0.5, 3: 0.25, 4: 0.0}),
        (
            {"kind": "cosine", "warmup_steps": 2, "min_ratio": 0.0},
            10,
            {0: 1 / 3, 1: 2 / 3, 2: 1.0, 4: 0.5 + ROOT_HALF / 2, 6: 0.5, 8: 0.5 - ROOT_HALF / 2, 10: 0.0, 99: 0.0},
        ),
        ({"kind": "cosine", "warmup_steps": 2, "min_ratio": 0.2}, 10, {2: 1.0, 6: 0.6, 10: 0.2}),
        ({"kind": "cosine", "warmup_steps": 0, "min_ratio": 1.0}, 10, {0: 1.0, 5: 1.0, 10: 1.0}),
        # By default the decay is the last fifth of the run.
        (
            {"kind": "wsd", "warmup_steps": 1, "min_ratio": 0.0},
            20,
            {0: 0.5, 1: 1.0, 16: 1.0, 17: 0.75, 19: 0.25, 20: 0.0},
        ),
        (
            {"kind": "wsd", "warmup_steps": 3, "decay_steps": 10, "min_ratio": 0.5},
            20,
            {0: 0.25, 3: 1.0, 10: 1.0, 11: 0.95, 15: 0.75, 20: 0.5, 99: 0.5},
        ),
        (
            {"kind": "wsd", "warmup_steps": 2, "decay_ratio": 0.5, "min_ratio": 0.0},
            20,
            {0: 1 / 3, 2: 1.0, 10: 1.0, 11: 0.9, 15: 0.5, 20: 0.0},
        ),
        # decay_steps overrides decay_ratio, which is a fraction of total_steps if that is given.
        (
            {"kind": "wsd", "warmup_steps": 0, "decay_steps": 4, "decay_ratio": 1.0, "min_ratio": 0.0},
            8,
            {4: 1.0, 6: 0.5},
        ),
        (
            {"kind": "wsd", "warmup_steps": 0, "decay_ratio": 0.4, "min_ratio": 0.0, "total_steps": 10},
            99,
            {6: 1.0, 8: 0.5, 10: 0.0},
        ),
        # The decay never starts within the warmup.
        ({"kind": "wsd", "warmup_steps": 4, "decay_steps": 100, "min_ratio": 0.0}, 8, {3: 0.8, 4: 1.0, 6: 0.5, 8: 0.0}),
        ({"kind": "wsd", "warmup_steps": 0, "decay_steps": 0, "min_ratio": 0.0}, 8, {0: 1.0, 7: 1.0}),
        # A run that is shorter than its warmup spends half of its steps on it.
        ({"kind": "linear", "warmup_steps": 100, "min_ratio": 0.0}, 8, {0: 0.2, 3: 0.8, 4: 1.0, 6: 0.5, 8: 0.0}),
        ({"kind": "constant", "warmup_steps": 100}, 1, {0: 1.0}),
        # With total_steps, the run may end before the decay or continue after it.
        ({"kind": "linear", "warmup_steps": 0, "min_ratio": 0.0, "total_steps": 10}, 4, {0: 1.0, 3: 0.7, 5: 0.5}),
        ({"kind": "linear", "warmup_steps": 0, "min_ratio": 0.1, "total_steps": 10}, 90, {5: 0.55, 10: 0.1, 89: 0.1}),
        ({"kind": "constant", "warmup_steps": 100, "total_steps": 8}, 5000, {3: 0.8, 4: 1.0}),
    ],
)
def test_ratios_match_the_table(settings: dict[str, Any], run_steps: int, expected: dict[int, float]) -> None:
    schedule = Schedule(**settings)
    assert {step: schedule.ratio(step, run_steps) for step in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine", "wsd"])
@pytest.mark.parametrize("warmup_steps", [0, 1, 50, 100_000])
def test_ratios_change_without_jumps(kind: Any, warmup_steps: int) -> None:
    run_steps = 1000
    schedule = Schedule(kind=kind, warmup_steps=warmup_steps, min_ratio=0.0)
    ratios = [schedule.ratio(step, run_steps) for step in range(run_steps + 10)]
    assert all(0.0 < ratio <= 1.0 for ratio in ratios[:run_steps])
    warmup = min(warmup_steps, run_steps // 2)
    assert ratios[warmup] == max(ratios) == 1.0
    # The steepest part is the warmup, the decay of wsd over a fifth of the run, or a cosine over half of it.
    steepest = max(1 / (warmup + 1), 1 / (run_steps // 5))
    assert max(abs(b - a) for a, b in pairwise(ratios)) <= steepest + 1e-12
    assert ratios[warmup:] == sorted(ratios[warmup:], reverse=True)
    assert ratios[-10:] == pytest.approx([1.0 if kind == "constant" else 0.0] * 10, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_steps": -1}, r"schedule\.warmup_steps=-1 must be at least 0"),
        ({"decay_steps": -1}, r"schedule\.decay_steps=-1 must be at least 0"),
        ({"min_ratio": 1.5}, r"schedule\.min_ratio=1\.5 must lie in \[0, 1\]"),
        ({"min_ratio": -0.5}, r"schedule\.min_ratio=-0\.5 must lie in \[0, 1\]"),
        ({"decay_ratio": 1.1}, r"schedule\.decay_ratio=1\.1 must lie in \[0, 1\]"),
        ({"decay_ratio": -0.1}, r"schedule\.decay_ratio=-0\.1 must lie in \[0, 1\]"),
        ({"total_steps": 0}, r"schedule\.total_steps=0 must be at least 1"),
        ({"total_steps": -5}, r"schedule\.total_steps=-5 must be at least 1"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Schedule(**settings)
