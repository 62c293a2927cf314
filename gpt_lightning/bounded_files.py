"""Reading of small files of unknown origin: regular files only, with limits of size and depth."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from gpt_lightning.errors import InputError

MAX_BYTES: Final = 2**28
"""Size limit of a file; the largest published ``tokenizer.json`` files have a tenth of it."""
MAX_DEPTH: Final = 100
"""Limit of nested lists and mappings, far above that of any configuration."""
_MAX_DIGITS: Final = 300
"""Characters of an integer; larger ones do not fit a float."""


class NotRegularError(OSError):
    """Path of a pipe or device."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        NotRegularError: it is a pipe or device.
        OSError: it cannot be opened.
    """
    # Opening a pipe would wait for its writer without O_NONBLOCK, which Windows lacks.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise IsADirectoryError if stat.S_ISDIR(mode) else NotRegularError("not a regular file")
    return os.fdopen(descriptor, "rb")


def read_text(path: Path, remedy: str, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a UTF-8 file.

    Args:
        path: path of the file.
        remedy: advice for the error, as a sentence without its period.
        max_bytes: size limit in bytes.

    Raises:
        InputError: the file is missing, too large, not UTF-8, or a folder, pipe or device.
    """
    try:
        with open_regular(path) as file:
            content = file.read(max_bytes + 1)
    except NotRegularError as error:
        raise InputError(f"{path}: {error}. {remedy}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. {remedy}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, not a file. {remedy}") from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). {remedy}") from None
    if len(content) > max_bytes:
        raise InputError(f"{path}: larger than {max_bytes:,} bytes. {remedy}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not UTF-8. {remedy}") from None


def read_json(path: Path, remedy: str, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value in a JSON file.

    Args:
        path: path of the file.
        remedy: advice for the error, as a sentence without its period.
        max_bytes: size limit in bytes.

    Raises:
        InputError: as for ``read_text``, or the file is not JSON or nested too deeply.
    """
    return parse_json(read_text(path, remedy, max_bytes), str(path), remedy)


def read_json_object(path: Path, remedy: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        InputError: as for ``read_json``, or the value is not an object.
    """
    content = read_json(path, remedy, max_bytes)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object. {remedy}")
    return content


def parse_json(text: str, name: str, remedy: str) -> Any:
    """Return the value of a JSON text.

    Args:
        text: JSON text.
        name: name of its origin, for the error.
        remedy: advice for the error, as a sentence without its period.

    Raises:
        InputError: the text is not JSON, or nested too deeply.
    """
    try:
        content = json_value(text)
        too_deep = is_deeper(content, MAX_DEPTH)
    except RecursionError:
        too_deep = True
    except ValueError as error:
        raise InputError(f"{name}: not valid JSON ({str(error)[:200]}). {remedy}") from None
    if too_deep:
        raise InputError(f"{name}: nested more than {MAX_DEPTH} levels deep. {remedy}")
    return content


def json_value(text: str | bytes) -> Any:
    """Return the value of a JSON text whose numbers can be converted to floats.

    Raises:
        ValueError: the text is not JSON, or has an integer that does not fit a float.
        RecursionError: the text is nested too deeply.
    """
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"an integer with {len(digits):,} digits")
    return int(digits)


def load_yaml(text: str) -> Any:
    """Return the plain value of a YAML text.

    All readers of configurations use libyaml, since the parser in Python refuses some tabs that libyaml accepts.

    Raises:
        InputError: the text is nested too deeply.
        yaml.YAMLError: the text is not YAML of plain values.
        ValueError: a number or a date is invalid.
    """
    import yaml

    if any(depth > MAX_DEPTH for _, depth in yaml_depths(text)):
        raise InputError(f"YAML that is nested more than {MAX_DEPTH} levels deep. Give the config.yaml of a run")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def yaml_depths(text: str) -> Iterator[tuple[int, int]]:
    """Yield the line, counted from 0, and the depth of each event in a YAML text, without recursion.

    libyaml's composer recurses without a limit, so a text that is nested too deeply would crash the process.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        yield event.start_mark.line, depth


def is_deeper(value: Any, limit: int) -> bool:
    """Return whether lists, tuples and mappings are nested more than ``limit`` levels deep, without recursion.

    A container that occurs several times on one level is followed once. So shared parts, which a pickle may have, do
    not multiply.
    """
    level = {id(value): value} if _is_container(value) else {}
    for _ in range(limit):
        children = [each.values() if isinstance(each, dict) else each for each in level.values()]
        level = {id(item): item for items in children for item in items if _is_container(item)}
        if not level:
            return False
    return bool(level)


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)
