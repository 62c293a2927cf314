"""Search for the files of a source: files, folders and globs."""

import glob
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from gpt_lightning.data.sources.formats import (
    SUFFIXES,
    TABLES,
    TEXT_SUFFIXES,
    has_json_rows,
    is_text,
    suffix,
    supported_formats,
)
from gpt_lightning.data.sources.open_file import compression
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

Source = str | list[str]
"""A file, a folder, a glob (``**`` allowed), ``hub:NAME[:CONFIG][@SPLIT]``, or a list of these."""

HUB: Final = "hub:"
_MAX_KINDS: Final = 8


class Folder(NamedTuple):
    """Files of a folder that are read, and the number of the others by kind."""

    taken: list[Path]
    left_out: Counter[str]


def resolve(source: Source, key: str) -> list[str]:
    """Return the existing files and the ``hub:`` names of a source, in a fixed order.

    Raises:
        InputError: the source is empty, a file is missing or not of a supported format, or a folder has none.
    """
    items = [source] if isinstance(source, str) else source
    if not items or not all(items):
        raise InputError(f"{key}: the source is empty; set it to a file, a folder, a glob or hub:NAME")
    return [found for item in items for found in ([item] if item.startswith(HUB) else _paths(item, key))]


def folder_lines(source: Source) -> list[str]:
    """Return a line for each folder of a source: the files that are read and left out, by kind."""
    items = [source] if isinstance(source, str) else source
    lines = []
    for item in items:
        path = expand_home(item)
        if item.startswith(HUB) or not path.is_dir():
            continue
        taken, left_out = read_folder(path)
        line = f"{item}: read {_files(len(taken))} ({_kinds(Counter(map(_kind, taken)))})"
        if left_out:
            line += f", left out {left_out.total():,} ({_kinds(left_out)}). To read others, name them, as by a glob"
        lines.append(line)
    return lines


def read_folder(path: Path) -> Folder:
    """Return the files of a folder and of all folders below it, also linked ones.

    These are read: tables (such as ``.jsonl``), ``.txt``, and ``.json`` files that hold rows. Other ``.json`` files,
    such as a tokenizer, are left out. Without any table, prose and code are read too (``.md``, ``.py``); next to tables
    they usually describe the data.
    """
    taken: list[Path] = []
    texts: list[Path] = []
    left_out: Counter[str] = Counter()
    for file in sorted(_walk(path, left_out)):
        ending = suffix(file)
        if ending == ".json":
            if file.stat().st_size and _has_json_rows(file, file.stat().st_mtime_ns):
                taken.append(file)
            else:
                left_out[f"{_kind(file)} without rows"] += 1
        elif ending in SUFFIXES:
            taken.append(file)
        elif ending in TEXT_SUFFIXES:
            texts.append(file)
        else:
            left_out[_kind(file)] += 1
    if any(suffix(file) in TABLES for file in taken):
        left_out.update(map(_kind, texts))
        return Folder(taken, left_out)
    filled = [file for file in texts if file.stat().st_size]
    if len(filled) < len(texts):
        left_out["empty"] += len(texts) - len(filled)
    return Folder(sorted([*taken, *filled]), left_out)


def _walk(path: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Yield the files below a folder; a folder that several links name is visited once."""
    seen: set[str] = set()
    folders = [str(path)]
    while folders:
        links: list[str] = []
        for folder in folders:
            for here, inside, files in os.walk(folder):
                if (real := os.path.realpath(here)) in seen:
                    inside.clear()
                    continue
                seen.add(real)
                visible = [name for name in files if not name.startswith(".")]
                left_out["hidden"] += len(files) - len(visible) + sum(name.startswith(".") for name in inside)
                inside[:] = [name for name in inside if not name.startswith(".")]
                links += [link for name in inside if os.path.islink(link := os.path.join(here, name))]  # noqa: PTH114, PTH118
                yield from (file for name in visible if (file := Path(here, name)).is_file())
        # Linked folders come last, so that folders keep their own names in the order of the files.
        folders = sorted(links)
    if not left_out["hidden"]:
        del left_out["hidden"]


def _paths(item: str, key: str) -> list[str]:
    """Return the files that a file, a folder or a glob names."""
    path = expand_home(item)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = read_folder(path).taken
        if not found:
            raise InputError(
                f"{key}: the folder {item} has no file with a supported suffix ({supported_formats()}; .json files "
                "must hold JSON Lines or a list of objects, otherwise name them explicitly); choose a different folder"
            )
    elif path.exists():
        raise InputError(f"{key}: {item} is not a regular file; copy its contents into a file")
    elif any(character in item for character in "*?["):
        found = _matches(path)
        if not found:
            raise InputError(f"{key}: no file matches {item} (in {Path.cwd()}); fix the pattern")
    else:
        raise InputError(f"{key}: {item} does not exist (in {Path.cwd()}); choose a file, a folder or a glob")
    for file in found:
        if suffix(file) not in SUFFIXES and suffix(file) not in TEXT_SUFFIXES and not is_text(file):
            raise InputError(
                f"{key}: {file} has an unsupported suffix and is not text; convert it, or rename it to match its "
                f"format: {supported_formats()}"
            )
    return [str(file) for file in found]


def _matches(pattern: Path) -> list[Path]:
    """Return the files that match a glob, each once even if links make loops of folders."""
    matches = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)
    files = sorted((file for file in map(Path, matches) if file.is_file()), key=lambda file: (len(file.parts), file))
    unique = {(os.path.realpath(file.parent), file.name): file for file in reversed(files)}
    return sorted(unique.values())


@cache
def _has_json_rows(file: Path, _: int) -> bool:
    return has_json_rows(file)


def _kind(file: Path) -> str:
    return f"{suffix(file) or 'no suffix'}{compression(file) or ''}"


def _files(count: int) -> str:
    return f"{count:,} file" if count == 1 else f"{count:,} files"


def _kinds(counts: Counter[str]) -> str:
    kinds = [f"{count:,} {kind}" for kind, count in islice(counts.most_common(), _MAX_KINDS)]
    return ", ".join(kinds) + ", …" * (len(counts) > _MAX_KINDS)
