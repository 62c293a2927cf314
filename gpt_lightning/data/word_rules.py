"""Rules that keep parts of a word together, and their choice by how well they reproduce given words."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple, get_args

from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.word_split import is_unspaced, split_words

WordRule = Literal[
    "clitics", "apostrophes", "hyphens", "periods", "symbols", "abbreviations", "mentions", "urls", "runs", "whitespace"
]
"""Rule that changes the words of ``split_words``.

``clitics``
    English clitics are words: do n't, Anna 's.
``apostrophes``, ``hyphens``, ``periods``, ``symbols``
    A punctuation character between letters or digits joins them: N'Djamena, well-known, 3.14 or 12:30, AT&T.
``abbreviations``
    A period belongs to the abbreviation before it: U.S., Dr.
``mentions``, ``urls``
    @name, #tag and web addresses are words.
``runs``
    A repeated punctuation character is one word: "...", "--".
``whitespace``
    Only whitespace separates words.
"""

WORD_RULES: Final[tuple[WordRule, ...]] = get_args(WordRule)

_JOINERS: Final[dict[str, WordRule]] = {
    **dict.fromkeys("'’", "apostrophes"),
    **dict.fromkeys("-‐‑–", "hyphens"),
    **dict.fromkeys(".,:", "periods"),
}
"""Character that joins letters or digits -> its rule; all other punctuation has the rule ``symbols``."""

_CLITIC: Final = re.compile(r"(?:n['’]t|['’](?:s|re|ve|ll|d|m))(?![^\W_])", re.IGNORECASE)
_FEW: Final = 0.01
_PATTERNS: Final[dict[WordRule, re.Pattern[str]]] = {
    "abbreviations": re.compile(
        r"(?<![^\W_])(?:(?:[A-Za-z]\.)+|(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Lt|Capt|Sgt|Rev|Hon|Gov|Sen|Rep|Co|Corp"
        r"|Inc|Ltd|Bros|No|vs|etc|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.)(?![^\W_])"
    ),
    "mentions": re.compile(r"(?<![^\W_])[@#][^\W]+"),
    "urls": re.compile(r"(?:https?://|www\.)\S*[^\W_]/?", re.IGNORECASE),
    "runs": re.compile(r"([^\w\s])\1+"),
}


class GivenWords(NamedTuple):
    """Text with the (start, stop) characters of its words."""

    text: str
    words: Sequence[tuple[int, int]]


class ChosenRules(NamedTuple):
    """Rules, and the words that they do not reproduce."""

    rules: list[WordRule]
    num_words: int
    missed: list[str]

    def warning(self) -> str | None:
        """Return a message about the missed words if they are more than 1 %, else None."""
        if len(self.missed) <= _FEW * self.num_words:
            return None
        examples = ", ".join(short_repr(word) for word, _ in Counter(self.missed).most_common(5))
        how = f"by the rules {', '.join(self.rules)}" if self.rules else "at spaces and punctuation"
        return (
            f"{len(self.missed):,} of {self.num_words:,} words in a sample, such as {examples}, are not found if raw "
            f"text is split {how}. To predict such words, give lists of words instead of raw text"
        )


def split_by_rules(text: str, rules: Sequence[WordRule]) -> list[tuple[int, int]]:
    """Return the words of a text as (start, stop) in characters, in order.

    Without rules, they are those of ``split_words``. With rules, they also cover all characters but whitespace.
    """
    atoms = split_words(text)
    if not rules:
        return atoms
    borders = {border for atom in atoms for border in atom}
    glued = {stop for (_, stop), (start, _) in pairwise(atoms) if stop == start}
    if "whitespace" in rules:
        borders -= glued
    borders -= _joints(text, atoms, rules)
    for rule, pattern in _PATTERNS.items():
        if rule in rules:
            for match in pattern.finditer(text):
                borders -= glued.intersection(range(match.start() + 1, match.end()))
    if "clitics" in rules:
        for match in _CLITIC.finditer(text):
            start, stop = match.span()
            if start and text[start - 1].isalpha():
                borders.difference_update(range(start + 1, stop))
                borders.add(start)
    return [(start, stop) for start, stop in pairwise(sorted(borders)) if not text[start].isspace()]


def choose_rules(texts: Sequence[GivenWords]) -> ChosenRules:
    """Return the rules that reproduce the most words of texts.

    Each rule is kept if more words are reproduced with it than without it.
    """
    rules: list[WordRule] = []
    missed = _missed_words(texts, rules)
    for rule in WORD_RULES:
        candidate: list[WordRule] = [rule] if rule == "whitespace" else [*rules, rule]
        remaining = _missed_words(texts, candidate) if missed else missed
        if len(remaining) < len(missed):
            rules, missed = candidate, remaining
    return ChosenRules(rules, sum(len(each.words) for each in texts), missed)


def _joints(text: str, atoms: Sequence[tuple[int, int]], rules: Sequence[WordRule]) -> set[int]:
    """Return the borders of the punctuation characters that join the letters or digits around them."""
    found: set[int] = set()
    for (left, a), (start, stop), (right, _) in zip(atoms, atoms[1:], atoms[2:], strict=False):
        if a != start or stop != right or text[start].isalnum() or _JOINERS.get(text[start], "symbols") not in rules:
            continue
        if all(text[place].isalnum() and not is_unspaced(text[place]) for place in (left, right)):
            found |= {start, stop}
    return found


def _missed_words(texts: Sequence[GivenWords], rules: Sequence[WordRule]) -> list[str]:
    """Return the words that the rules do not reproduce."""
    return [text[slice(*word)] for text, words in texts for word in sorted({*words} - {*split_by_rules(text, rules)})]
