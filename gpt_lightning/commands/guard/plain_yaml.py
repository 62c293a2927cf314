"""YAML as nodes of plain values, bounded in size, depth and number."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from gpt_lightning.errors import InputError

MAX_BYTES: Final = 2**20
MAX_VALUES: Final = 100_000
MAX_DEPTH: Final = 50
"""What the largest configuration needs, many times over."""

MERGE: Final = "tag:yaml.org,2002:merge"
_KINDS: Final = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
_PLAIN: Final = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS}
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NotYamlError(InputError):
    """What was given cannot be read as YAML's plain values; a value that is a mere text may be so."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where text comes from: a file, whose lines count, or a flag or a value in a line of a file."""

    name: str
    folder: Path
    """What file names in it are relative to."""
    is_file: bool

    def at(self, line: int) -> str:
        """``path:line`` or the flag; lines count from 0."""
        return f"{self.name}:{line + 1}" if self.is_file else self.name


def compose(text: str, source: Source) -> Any:
    """The root node of ``text``, None where it is empty; an alias leads to the same node as its anchor.

    Raises:
        NotYamlError: its syntax is wrong, or it has tags of its own.
        InputError: it is too large, too deep, an alias stands for more values than anybody writes, or a tag asks for
            Python objects.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{source.name}: larger than {MAX_BYTES:,} bytes, which is no configuration")
    try:
        _refuse_size(text, source)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        # At the end of the text the mark is behind it.
        line = min(mark.line if mark else 0, max(len(text.splitlines()) - 1, 0))
        raise NotYamlError(f"{source.at(line)}: not YAML: {what}; look here and in the line before") from None
    except (yaml.YAMLError, UnicodeError):
        raise NotYamlError(f"{source.name}: not YAML: it has characters that no text has") from None
    if root is not None:
        _count(root, {}, source)
    return root


def refuse_duplicates(root: Any, source: Source) -> None:
    """Refuse keys that stand twice in a mapping, where the last would win silently, and keys that are no words."""
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
            raise InputError(f"{source.at(line)}: a key must be a word; quote it if it is one")
        word = (key.tag, key.value)
        if word in lines:
            raise InputError(
                f"{source.at(line)}: {key.value!r} stands in line {lines[word] + 1} already; keep one of the two"
            )
        lines[word] = line


def _refuse_size(text: str, source: Source) -> None:
    # libyaml's composer is recursive without a limit: the process would die.
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        line = event.start_mark.line
        if count > MAX_VALUES:
            raise InputError(f"{source.at(line)}: more than {MAX_VALUES:,} values, which is no configuration")
        if depth > MAX_DEPTH:
            raise InputError(f"{source.at(line)}: nested more than {MAX_DEPTH} deep, which is no configuration")


def _count(node: Any, counts: dict[int, int | None], source: Source) -> int:
    """How many values ``node`` stands for once its aliases are written out.

    In the order of the text, in which an alias follows its anchor, the recursion is as deep as the text and no deeper.

    Args:
        node: where to count.
        counts: those of the nodes before it by their ids; None for those that it is in.
        source: of the text.
    """
    line = node.start_mark.line
    if id(node) in counts:
        count = counts[id(node)]
        if count is None:
            raise InputError(f"{source.at(line)}: an alias in it leads back to itself; write it out")
        return count
    if node.tag not in _PLAIN:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        # Elsewhere a text may begin with an exclamation mark.
        fault = InputError if tag.startswith("!!python") else NotYamlError
        raise fault(f"{source.at(line)}: the tag {tag} is not YAML's plain ones; leave it out")
    counts[id(node)] = None
    count = 1
    for child in _children(node):
        count += _count(child, counts, source)
        if count > MAX_VALUES:
            raise InputError(
                f"{source.at(line)}: more than {MAX_VALUES:,} values with its aliases written out; write less"
            )
    counts[id(node)] = count
    return count


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
