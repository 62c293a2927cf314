"""Search for training rows that a file names, by their locations or their text."""

import difflib
import re
from collections.abc import Container, Iterable
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from gpt_lightning.data.sources.find_files import HUB, Source, resolve
from gpt_lightning.data.sources.read_file import numbered_lines
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

KEY: Final = "--data.without"
_LOCATION: Final = re.compile(r"(.+):((?:row )?[0-9]+)")
HEAD: Final = 200
"""Number of characters that are compared to find a similar text."""
_MAX_CANDIDATES: Final = 20_000


class Named(NamedTuple):
    """Row that a file names: its location or its text, and the line that names it."""

    key: object
    where: str
    is_location: bool = False


def named_locations(source: Source) -> list[Named] | None:
    """Return the locations in text files with ``path:line`` in each line; None if the files hold something else."""
    found = []
    for item in resolve(source, KEY):
        path = Path(item)
        if item.startswith(HUB) or path.suffix.lower() != ".txt":
            return None
        for number, line in numbered_lines(path):
            text = str(line).strip()
            if text and _file_of(text) is None:
                return None
            if text:
                found.append(Named(canonical_location(text), f"{path}:{number}", True))
    return found


def named_texts(source: Source) -> list[Named] | None:
    """Return the lines of text files as texts; None if a file is a table."""
    items = resolve(source, KEY)
    if any(item.startswith(HUB) or Path(item).suffix.lower() != ".txt" for item in items):
        return None
    lines = ((item, number, line.rstrip("\r\n")) for item in items for number, line in numbered_lines(Path(item)))
    return [Named(line, f"{item}:{number}") for item, number, line in lines if line.strip()]


def canonical_location(where: str) -> str:
    """Return a location with the absolute path of its file."""
    match = _LOCATION.fullmatch(where)
    return where if match is None or where.startswith(HUB) else f"{Path(match[1]).absolute()}:{match[2]}"


def _file_of(where: str) -> str | None:
    """Return the file in a location, or None if it is not the location of a row."""
    match = _LOCATION.fullmatch(where)
    return match[1] if match is not None and (where.startswith(HUB) or Path(match[1]).is_file()) else None


def is_empty(source: Source) -> bool:
    """Return whether a source is one empty file, which names no rows."""
    path = expand_home(source) if isinstance(source, str) else None
    return path is not None and path.exists() and not path.is_dir() and path.stat().st_size == 0


class Document(NamedTuple):
    """Text of any length, recognized by its digest."""

    head: str
    digest: str


def check_found(named: Iterable[Named], found: Container[object], known: Iterable[Named]) -> None:
    """Check that all named rows are rows of the training data.

    Args:
        named: the rows that are named.
        found: locations or texts of those that are in the training data.
        known: text and location of each row of the training data, for messages.

    Raises:
        InputError: some are not found. The message names the first one and the most similar row.
    """
    missing = [each for each in named if each.key not in found]
    if not missing:
        return
    first = missing[0]
    text = f"{first.where}: {first.key if first.is_location else _quote(first.key)} is not in --data.train"
    candidates = {} if first.is_location else {key: where for key, where, _ in islice(known, _MAX_CANDIDATES)}
    if (near := _most_similar(first.key, candidates)) is not None:
        text += f"; the most similar row is {candidates[near]}: {_quote(near)}"
    count = len(missing) - 1
    more = f" ({count:,} more {'row is' if count == 1 else 'rows are'} missing)" if count else ""
    raise InputError(f"{text}{more}. Give rows of the training data, unchanged, or their path:line in a .txt file")


def _quote(key: object) -> str:
    return short_repr(_text(key))


def _text(key: object) -> str:
    """Return a key as text for messages."""
    if isinstance(key, Document):
        return key.head
    return "\n".join(map(_text, key)) if isinstance(key, tuple) else str(key)


def _most_similar(key: object, known: Iterable[object]) -> object | None:
    """Return the key that begins most like ``key``; None if none is similar."""
    heads = {_text(each)[:HEAD]: each for each in known}
    near = difflib.get_close_matches(_text(key)[:HEAD], heads, n=1)
    return heads[near[0]] if near else None
