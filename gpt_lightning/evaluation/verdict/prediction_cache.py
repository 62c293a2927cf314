"""Cache of the predictions of baselines, so that several models are compared with one fit."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.status import status

_VERSION: Final = 1
"""Increase it when a baseline changes."""


class PredictionCache:
    """Cache in a folder: a file of predictions for each baseline and its data.

    Args:
        folder: folder of the cache; it need not exist or be writable.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def predictions(
        self, function: Callable[..., Any], *arguments: Any, like: Any, text: str = "Fitting the TF-IDF baseline"
    ) -> list[Any]:
        """Return the predictions of a function for the last of its arguments, from the cache if it has them.

        Args:
            function: function from texts and labels to a list or an array with a prediction for each test row.
            arguments: its arguments: lists of strings or numbers, and arrays.
            like: a prediction of the same type and length; cached ones that differ are not used.
            text: line that is printed if it takes a while.
        """
        file = self._folder / f"{function.__name__}-{_digest(arguments)}.json"
        found = _read(file, len(arguments[-1]), like)
        if found is None:
            with status(text):
                found = function(*arguments)
            found = found.tolist() if isinstance(found, np.ndarray) else list(found)
            with suppress(OSError):  # without a cache, the next test fits again
                self._folder.mkdir(parents=True, exist_ok=True)
                with atomic_write(file) as output:
                    output.write(json.dumps(found).encode())
        return found


def _read(file: Path, size: int, like: Any) -> list[Any] | None:
    """Return cached predictions; None if there are none, or the file is damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_valid = isinstance(found, list) and len(found) == size and all(_is_like(each, like) for each in found)
    return found if is_valid else None


def _is_like(value: Any, like: Any) -> bool:
    if isinstance(value, list) and isinstance(like, list):
        return len(value) == len(like) and all(map(_is_like, value, like))
    return type(value) is type(like) and (not isinstance(value, float) or math.isfinite(value))


def _digest(arguments: tuple[Any, ...]) -> str:
    """Return a digest of the data and of the versions of the packages."""
    versions = [_version(package) for package in ("scikit-learn", "datasketch")]
    digest = hashlib.sha256(json.dumps([_VERSION, *versions]).encode())
    for argument in arguments:
        values = argument.tolist() if isinstance(argument, np.ndarray) else list(argument)
        digest.update(json.dumps(values).encode() + b"\n")
    return digest.hexdigest()[:32]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
