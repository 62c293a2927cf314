"""Swaps from a built-in list or from a file of the user."""

from typing import Any, Final

import yaml

from gpt_lightning.bounded_files import load_yaml, read_text
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.word_swaps.swaps import Swaps
from gpt_lightning.data.word_swaps.word_lists import BUILT_IN
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

_MAX_BYTES: Final = 2**20
_REMEDY: Final = (
    f"Give one of the lists {', '.join(BUILT_IN)}, or a YAML or JSON file with groups: [FIRST, SECOND] and pairs: "
    "[[WORD, WORD], ...]"
)


def load_swaps(source: str, key: str) -> Swaps:
    """Return swaps by the name of a built-in list or from a file.

    Args:
        source: name of a built-in list, or path of a YAML or JSON file with ``groups`` and ``pairs``.
        key: option that sets the source, for messages.

    Raises:
        InputError: the file cannot be read, or a pair is invalid.
    """
    if source in BUILT_IN:
        return Swaps(*BUILT_IN[source])
    path = expand_home(source)
    text = read_text(path, f"{key}: {_REMEDY}", _MAX_BYTES)
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        raise InputError(f"{path}{line}: not YAML or JSON ({getattr(error, 'problem', error)}). {_REMEDY}") from None
    except (ValueError, InputError) as error:
        raise InputError(f"{path}: {error}") from None
    try:
        return _swaps(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _swaps(content: Any) -> Swaps:
    """Return the swaps in the content of a file.

    Raises:
        InputError: the content is invalid.
    """
    if not isinstance(content, dict) or set(content) != {"groups", "pairs"}:
        raise InputError(f"not a mapping with the keys groups and pairs. {_REMEDY}")
    groups, pairs = content["groups"], content["pairs"]
    if not _is_pair(groups) or groups[0] == groups[1]:
        raise InputError(f"groups is {short_repr(groups)}, not the names of two groups, such as [female, male]")
    if not isinstance(pairs, list) or not pairs:
        raise InputError(f"pairs is {short_repr(pairs)}, not a list of pairs of words, such as [[she, he]]")
    for number, pair in enumerate(pairs, start=1):
        if not _is_pair(pair):
            raise InputError(
                f"pair {number} is {short_repr(pair)}, not two words. Write [she, he], with quotes around yes, no, on "
                "and off"
            )
    return Swaps((groups[0], groups[1]), [(first, second) for first, second in pairs])


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) and each for each in value)
