"""Linear scales with round ticks for the axes of charts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

LARGEST: Final = 1e100
"""Largest absolute value that a chart draws; differences of larger ones could overflow."""


def is_drawable(value: float) -> bool:
    """Return whether a chart can show a value: it is neither NaN nor infinite nor above ``LARGEST``."""
    return abs(value) <= LARGEST


@dataclass(frozen=True)
class Scale:
    """Linear map from ``low ... high`` to the pixels ``start ... end``."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, *, includes_zero: bool = False) -> "Scale":
        """Return a scale over all drawable values, with round limits; 0 to 1 without any."""
        drawable = [value for value in values if is_drawable(value)]
        drawable += [0.0] * (includes_zero or not drawable)
        low, high = min(drawable), max(drawable)
        if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-200):
            margin = abs(high) / 10 if abs(high) > 1e-200 else 1.0
            low, high = (low if includes_zero and low == 0 else low - margin), high + margin
        step = _step(low, high)
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the round values in the range, each with its label."""
        step = _step(self.low, self.high)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)]
        return list(zip(values, _labels(values, step), strict=True))


def _step(low: float, high: float) -> float:
    """Return the distance of ticks, 1, 2 or 5 times a power of ten, for about five ticks."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _labels(values: Sequence[float], step: float) -> list[str]:
    largest = max(map(abs, values), default=0.0)
    if largest >= 1e7 or step < 1e-4:
        digits = max(math.ceil(math.log10(largest / step)), 0) if largest else 0
        labels = [f"{value:.{min(digits, 12)}e}" for value in values]
        labels = [
            f"{head.rstrip('0').rstrip('.') if '.' in head else head}e{int(power)}"
            for head, power in (label.split("e") for label in labels)
        ]
        return ["0" if value == 0 else label.replace("-", "−") for value, label in zip(values, labels, strict=True)]
    decimals = max(-math.floor(math.log10(step) + 1e-9), 0)
    return [f"{value + 0.0:,.{decimals}f}".replace("-", "−") for value in values]
