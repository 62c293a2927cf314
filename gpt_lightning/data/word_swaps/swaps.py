"""Swaps of words between two groups, and the places of text that they move."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from gpt_lightning.data.word_swaps.word_lists import NO_NOUN_PHRASE, Pair
from gpt_lightning.errors import InputError

_WORD: Final = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")
"""Letters and digits with combining accents, so that the parts of "she's" and "mother-in-law" are words."""
_FOLLOWING_WORD: Final = re.compile(r"\s+[\"'“‘(]*((?:[^\W_]|[\u0300-\u036f])+)")

_ENGLISH: Final[dict[str, tuple[str, str]]] = {"her": ("his", "him"), "his": ("her", "hers")}
"""Pronoun with two partners -> its partner as a determiner and its other partner."""


class Replacement(NamedTuple):
    """Word that is replaced.

    Attributes:
        start: first character in the original text.
        end: character after the word in the original text.
        text: new word.
        group: 0 or 1, the group of the original word.
    """

    start: int
    end: int
    text: str
    group: int


@dataclass(frozen=True)
class SwappedText:
    """Text after a swap, with the words that were replaced, in order."""

    text: str
    replacements: tuple[Replacement, ...]

    def moved(self, start: int, end: int) -> tuple[int, int]:
        """Return the place of the characters [start, end) of the original text in the new text.

        A place that begins or ends inside of a replaced word is extended to the whole word.
        """
        return self._moved_start(start), self._moved_end(end)

    def _moved_start(self, position: int) -> int:
        shift = 0
        for start, end, text, _ in self.replacements:
            if position <= start:
                break
            if position < end:
                return start + shift
            shift += len(text) - (end - start)
        return position + shift

    def _moved_end(self, position: int) -> int:
        shift = 0
        for start, end, text, _ in self.replacements:
            if position <= start:
                break
            shift += len(text) - (end - start)
            if position < end:
                return end + shift
        return position + shift


class Swaps:
    """Pairs of words, each of which replaces the other.

    Words are replaced in lower case, in upper case and with a capital letter; the case is kept. Words with other
    capitals stay.

    "her" is "his" before a word that can begin a noun phrase ("her old book"), and "him" otherwise ("saw her in").
    "his" is "her" or "hers" by the same rule. The rule reads only the next word, so it errs in "I gave her money".

    Args:
        groups: names of the two groups.
        pairs: a word of the first group and a word of the second group each. A word occurs in one pair, except for the
            pairs her/him, her/his and hers/his.

    Raises:
        InputError: a pair is invalid. The message names its number but not its origin.
    """

    def __init__(self, groups: Pair, pairs: Iterable[Pair]) -> None:
        self.groups = groups
        self._partners: dict[str, list[str]] = {}
        self._group_of: dict[str, int] = {}
        for number, pair in enumerate(pairs, start=1):
            words = tuple(word.lower() for word in pair)
            forms = [_forms(word) for word in words]
            if None in forms or words[0] == words[1]:
                raise InputError(
                    f"pair {number} is {pair[0]!r} and {pair[1]!r}, not two different words of letters. Give single "
                    "words, at least two letters long"
                )
            for group, word in enumerate(words):
                self._add(number, group, word, words[1 - group])

    def __call__(self, text: str) -> SwappedText:
        """Return a text with its words swapped."""
        replacements, parts, done = list[Replacement](), list[str](), 0
        for match in _WORD.finditer(text):
            new = self._replacement(text, match)
            if new is not None:
                replacements.append(Replacement(match.start(), match.end(), new, self._group_of[match[0].lower()]))
                parts += (text[done : match.start()], new)
                done = match.end()
        return SwappedText("".join([*parts, text[done:]]), tuple(replacements))

    def _add(self, number: int, group: int, word: str, partner: str) -> None:
        """Add a partner of a word."""
        partners = self._partners.setdefault(word, [])
        partners.append(partner)
        is_known = set(partners) <= set(_ENGLISH.get(word, ())) and len(set(partners)) == len(partners)
        if self._group_of.setdefault(word, group) != group or (len(partners) > 1 and not is_known):
            raise InputError(f"pair {number} has the word {word!r}, which an earlier pair has. Remove one of them")

    def _replacement(self, text: str, match: re.Match[str]) -> str | None:
        """Return the word that replaces a match; None if the match stays."""
        word = match[0].lower()
        partners = self._partners.get(word)
        forms = None if partners is None else _forms(word)
        if partners is None or forms is None or match[0] not in forms:
            return None
        partner = partners[0]
        if len(partners) > 1:
            following = _FOLLOWING_WORD.match(text, match.end())
            is_determiner = following is not None and following[1].lower() not in NO_NOUN_PHRASE
            partner = _ENGLISH[word][0 if is_determiner else 1]
        partner_forms = _forms(partner)
        assert partner_forms is not None
        return partner_forms[forms.index(match[0])]


def _forms(word: str) -> tuple[str, str, str] | None:
    """Return a word in lower case, with a capital letter and in upper case; None if these are not three words."""
    forms = (word, word[:1].upper() + word[1:], word.upper())
    is_word = _WORD.fullmatch(word) is not None
    return forms if is_word and len({*forms}) == 3 and all(form.lower() == word for form in forms) else None


Swap = Callable[[str], SwappedText]
"""Function that swaps the words of a text."""
