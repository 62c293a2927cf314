"""Range checks of the numbers that users give to constructors."""

import math
from numbers import Integral, Real
from typing import Final

from gpt_lightning.errors import InputError

MAX_COUNT: Final = 2**31 - 1
"""Largest count, such as a number of steps or of tokens; libraries in C fail beyond it."""
MAX_SEED: Final = 2**32 - 1
"""Largest seed that NumPy accepts."""


def check_count(name: str, value: object, least: int = 1, most: int = MAX_COUNT) -> None:
    """Check that a value is a whole number in ``[least, most]``.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, Integral):
        raise InputError(f"{name}={value!r} must be a whole number")
    value = int(value)
    if value < least:
        raise InputError(f"{name}={value} must be at least {least}")
    if value > most:
        raise InputError(f"{name}={value} must be at most {most}")


def check_number(name: str, value: object, least: float = 0.0) -> None:
    """Check that a value is a finite number of at least ``least``.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{name}={value!r} must be a finite number")
    if value < least:
        raise InputError(f"{name}={value} must be at least {least:g}")
