"""YAML as nodes of plain values, with limits of size, depth and number of values."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from gpt_lightning.bounded_files import yaml_depths
from gpt_lightning.errors import InputError

MAX_BYTES: Final = 2**20
MAX_VALUES: Final = 100_000
MAX_DEPTH: Final = 50
"""Limits far above the largest configuration that people write."""

MERGE: Final = "tag:yaml.org,2002:merge"
_KINDS: Final = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
_PARSED_KINDS: Final = ("int", "float", "bool", "timestamp")
"""Kinds of scalars whose text may be invalid."""
_PLAIN: Final = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS}
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NotYamlError(InputError):
    """Text that cannot be read as YAML of plain values; a value that is only a string may be such a text."""


@dataclass(frozen=True, slots=True)
class Source:
    """Origin of a text: a file, a flag, or one line of a file."""

    name: str
    folder: Path
    """Folder that relative file names in the text start from."""
    is_file: bool
    """True if ``name`` is that of a file; messages then add the line."""
    is_flag: bool = False
    """True if the text is the value of a flag, which the user has typed."""

    def at(self, line: int) -> str:
        """Return ``path:line``, or the name alone if it is not that of a file; lines count from 0."""
        return f"{self.name}:{line + 1}" if self.is_file else self.name


def compose(text: str, source: Source) -> Any:
    """Return the root node of a YAML text; None if the text is empty. An alias is the same node as its anchor.

    Raises:
        NotYamlError: the syntax is invalid, or the text has custom tags.
        InputError: the text is too large or too deep, has too many values, or has a tag that makes Python objects.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{source.name}: larger than {MAX_BYTES:,} bytes, too large for a configuration. Shorten it")
    try:
        _refuse_size(text, source)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        # The mark of an error at the end of the text is one line behind the last.
        line = min(mark.line if mark else 0, max(len(text.splitlines()) - 1, 0))
        lines = text.splitlines()
        if lines and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]:
            raise NotYamlError(f"{source.at(line)}: not YAML: indented with a tab. Use spaces") from None
        raise NotYamlError(f"{source.at(line)}: not YAML: {what}. Check this line and the one before") from None
    except (yaml.YAMLError, UnicodeError):
        bad = yaml.reader.Reader.NON_PRINTABLE.search(text)
        line = text.count("\n", 0, bad.start()) if bad else 0
        raise NotYamlError(f"{source.at(line)}: not YAML: it has control characters. Remove them") from None
    if root is not None:
        _count(root, {}, source)
    return root


def line_of(file: Path, key: str) -> int | None:
    """Return the line of a key in a YAML file, counted from 1; None if the file does not have it.

    Args:
        file: the file.
        key: the dotted key, or its last parts.
    """
    try:
        root = compose(file.read_text(encoding="utf-8"), Source(str(file), file.parent, is_file=True))
    except (InputError, OSError, UnicodeError):
        return None
    waiting, parts = [("", root)], f".{key}".replace(".init_args.", ".")
    while waiting:
        path, node = waiting.pop()
        for item in node.value if isinstance(getattr(node, "value", None), list) else ():
            if not isinstance(item, tuple):
                waiting.append((path, item))
                continue
            inner = path if item[0].value == "init_args" else f"{path}.{item[0].value}"
            if inner.endswith(parts):
                return int(item[0].start_mark.line) + 1
            waiting.append((inner, item[1]))
    return None


def refuse_duplicates(root: Any, source: Source) -> None:
    """Refuse mappings with the same key twice, of which the last would win silently, and keys that are not scalars.

    Raises:
        InputError: a mapping has such a key.
    """
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        waiting.extend(_children(node))
        if isinstance(node, yaml.MappingNode):
            _refuse_duplicates(node, source)


def _refuse_duplicates(mapping: Any, source: Source) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        line = key.start_mark.line
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{source.at(line)}: the key is a list or a mapping. Use a string as the key")
        word = (key.tag, key.value)
        if word in lines:
            raise InputError(
                f"{source.at(line)}: duplicate key {key.value!r} (first on line {lines[word] + 1}). Keep one of the two"
            )
        lines[word] = line


def _refuse_size(text: str, source: Source) -> None:
    for count, (line, depth) in enumerate(yaml_depths(text)):
        if count > MAX_VALUES:
            raise InputError(f"{source.at(line)}: more than {MAX_VALUES:,} values. Remove some")
        if depth > MAX_DEPTH:
            raise InputError(f"{source.at(line)}: nested more than {MAX_DEPTH} levels deep. Flatten it")


def _count(node: Any, counts: dict[int, int | None], source: Source) -> int:
    """Return the number of values of ``node`` with its aliases expanded.

    An alias follows its anchor in the text, so its count is known already and the recursion is no deeper than the text.

    Args:
        node: the node to count.
        counts: counts of the nodes before it by their ids; None for the nodes that contain it.
        source: origin of the text.

    Raises:
        InputError: there are too many values, an alias contains itself, or a tag makes Python objects.
        NotYamlError: a tag is not one of YAML's plain ones.
    """
    line = node.start_mark.line
    if id(node) in counts:
        count = counts[id(node)]
        if count is None:
            raise InputError(f"{source.at(line)}: an alias contains itself. Write out the values")
        return count
    if node.tag not in _PLAIN:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        # Outside of YAML a text may begin with an exclamation mark, so only Python tags are always an error.
        fault = InputError if tag.startswith("!!python") else NotYamlError
        raise fault(f"{source.at(line)}: the tag {tag} is not supported. Leave it out")
    kind = node.tag.rpartition(":")[2]
    if kind in _PARSED_KINDS and not _is_constructible(node):
        raise NotYamlError(
            f"{source.at(line)}: {node.value[:60]!r} is not a valid {kind}. Quote it to make it a string"
        )
    counts[id(node)] = None
    count = 1
    for child in _children(node):
        count += _count(child, counts, source)
        if count > MAX_VALUES:
            raise InputError(
                f"{source.at(line)}: more than {MAX_VALUES:,} values with expanded aliases. Use fewer aliases"
            )
    counts[id(node)] = count
    return count


def _is_constructible(node: Any) -> bool:
    """Return whether a scalar has a value of its type; PyYAML fails on ``2020-99-99`` and ``!!int x``."""
    try:
        yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, ValueError):
        return False
    return True


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
