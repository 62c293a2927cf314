"""Detection of the tagging scheme of a file, and validation of its tags.

``tags.convert_tags`` reads the tags of all schemes alike. The scheme decides which tags are mistakes: after O, I-PER
starts a span in IOB1, but is wrong in IOB2.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError

_TAG: Final = re.compile("O|[BIESLU]-.+", re.DOTALL)


class FileScheme(NamedTuple):
    """Tagging scheme of a file (Ramshaw and Marcus 1995; Ratinov and Roth 2009)."""

    name: str
    letters: str
    continuing: str
    """Letters that need a B or I tag of the same type before them."""
    has_ends: bool
    """True if a B or I tag needs one of ``continuing`` after it."""


SCHEMES: Final = (
    FileScheme("IOB2", "OBI", "I", has_ends=False),
    FileScheme("IOB1", "OBI", "B", has_ends=False),
    FileScheme("BIOES", "OBIES", "IE", has_ends=True),
    FileScheme("BILOU", "OBILU", "IL", has_ends=True),
)


def find_scheme(texts: Iterable[Sequence[Any]]) -> FileScheme:
    """Return the scheme that the most texts of a file follow, the first of ``SCHEMES`` if several fit equally.

    Args:
        texts: tags of each text. A text with anything but tags follows no scheme.
    """
    num_wrong = dict.fromkeys(SCHEMES, 0)
    for tags in texts:
        if any(tag != "O" for tag in tags):
            for scheme in SCHEMES:
                num_wrong[scheme] += _first_mistake(tags, scheme) is not None
    return min(SCHEMES, key=num_wrong.__getitem__)


def check_tags(tags: Sequence[Any], scheme: FileScheme, where: str) -> None:
    """Check the tags of a text.

    Args:
        tags: one tag per word.
        scheme: scheme of the file.
        where: location of the text, for messages.

    Raises:
        InputError: a tag is malformed, or wrong at its place in this scheme.
    """
    index = _first_mistake(tags, scheme)
    if index is None:
        return
    place = f"{where}: tag {short_repr(tags[index])} of word {index + 1} (index {index})"
    if not _is_tag(tags[index]):
        raise InputError(
            f"{place} is neither O nor a type with the prefix B-, I-, E-, S-, L- or U-, such as B-PER; fix it"
        )
    if tags[index][0] not in scheme.letters:
        reason = f"is not a tag of {scheme.name}"
    elif not _may_follow(tags[index - 1] if index else "O", tags[index], scheme):
        reason = f"{_place_after(tags, index)} is wrong in {scheme.name}"
    else:
        reason = f"at the end of the text is wrong in {scheme.name}"
    raise InputError(f"{place} {reason}, the scheme that fits most texts of this file; fix the tags of this text")


def _place_after(tags: Sequence[str], index: int) -> str:
    return f"after {short_repr(tags[index - 1])}" if index else "at the start of the text"


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and _TAG.fullmatch(tag) is not None


def _first_mistake(tags: Sequence[Any], scheme: FileScheme) -> int | None:
    """Return the index of the first tag that is malformed or wrong at its place, or None."""
    previous = "O"
    for index, tag in enumerate(tags):
        if not _is_tag(tag) or tag[0] not in scheme.letters or not _may_follow(previous, tag, scheme):
            return index
        previous = tag
    if scheme.has_ends and previous[0] in "BI":
        return len(tags) - 1
    return None


def _may_follow(previous: str, tag: str, scheme: FileScheme) -> bool:
    is_continued = previous[0] in "BI" and previous[2:] == tag[2:]
    if tag[0] in scheme.continuing:
        return is_continued
    return not (scheme.has_ends and previous[0] in "BI")
