"""Quotes around label names in YAML, which reads ``1``, ``no`` and ``null`` as a number, a boolean and null."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import yaml
from jsonargparse import get_loader

_KEYS: Final = ("class_weights", "label_columns", "labels", "thresholds")
"""Keys whose list has label names, or whose mapping has them as keys."""
_load_yaml: Final = get_loader("yaml")


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text, with label names as they are written."""
    return _load_yaml(quote_labels(text) if any(key in text for key in _KEYS) else text)


def quote_flags(flags: list[str]) -> list[str]:
    """Return flags with quotes around the label names in their values."""
    quoted, is_value = [], False
    for flag in flags:
        name, equals, value = flag.partition("=")
        if is_value:
            quoted.append(_quote(flag, is_labels=True))
        elif equals and _is_key(name):
            quoted.append(f"{name}={_quote(value, is_labels=True)}")
        else:
            quoted.append(flag)
        is_value = not is_value and not equals and _is_key(name)
    return quoted


@lru_cache(maxsize=4)  # the same file is read several times, and thousands of labels take seconds
def quote_labels(text: str) -> str:
    """Return a YAML text with quotes around the label names; text that is not YAML is returned unchanged."""
    return _quote(text, is_labels=False)


def _is_key(flag: str) -> bool:
    return flag.startswith(("--data.", "--model.")) and flag.rpartition(".")[2] in _KEYS


def _quote(text: str, is_labels: bool) -> str:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return text
    names = {node.start_mark.index: node for node in _names(root, is_labels)}
    for start in sorted(names, reverse=True):
        node = names[start]
        text = text[:start] + json.dumps(node.value, ensure_ascii=False) + text[node.end_mark.index :]
    return text


def _names(node: Any, is_labels: bool) -> Iterator[Any]:
    """Yield the label names that are not quoted.

    Args:
        node: a node of YAML.
        is_labels: True for the value of one of ``_KEYS``.
    """
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if is_labels:
                yield from _unquoted_nodes(key)
            else:
                yield from _names(value, isinstance(key, yaml.ScalarNode) and key.value in _KEYS)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _unquoted_nodes(item) if is_labels else _names(item, is_labels=False)


def _unquoted_nodes(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.ScalarNode) and node.style is None and node.value:
        yield node
