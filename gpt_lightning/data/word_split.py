"""Splitting of texts into words.

Each character falls into a class, and a regular expression over the classes finds the words: Python's own ``re`` knows
neither combining marks nor scripts.
"""

import re
import unicodedata
from typing import Final

# Written without spaces, so that each character (with its marks) must be a word for spans to be exact. Hangul is
# not among them: Korean has spaces.
_UNSPACED: Final = (
    (0x0E01, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han: iteration mark, closing mark, zero
    (0x3021, 0x3029),  # Han: Hangzhou numerals
    (0x3031, 0x303C),  # Kana repeat marks, more Hangzhou numerals
    (0x3041, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo extended
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),  # halfwidth Katakana
    (0x1AFF0, 0x1B16F),  # Kana supplements
    (0x20000, 0x3FFFF),  # Han; planes 2 and 3 hold nothing else, assigned or not
)
_JOINER: Final = 0x200D
_ZERO_WIDTH_SPACE: Final = 0x200B
_REGIONAL: Final = (0x1F1E6, 0x1F1FF)
_SKIN_TONES: Final = (0x1F3FB, 0x1F3FF)
_HALFWIDTH_VOICING: Final = (0xFF9E, 0xFF9F)  # letters by category, marks by use
_LEFT_RIGHT_ARROW: Final = 0x2194  # the one mathematical symbol that a joiner ties to emoji (a shaking head)
_PICTURES: Final = (0x1F000, 0x1FAFF)  # where emoji appear that this Python does not know yet

# The classes: a letter or digit, u one of an unspaced script, m mark, j zero-width joiner, e emoji or other symbol,
# r regional indicator (two are a flag), p anything else, blank whitespace.
_WORD: Final = re.compile("a[amj]*|u[mj]*|e[mj]*(?:(?<=j)e[mj]*)*|rr?[mj]*|p[mj]*|[mj]+")


def split_words(text: str) -> list[tuple[int, int]]:
    """Return the words of ``text`` as (start, stop) in characters, in order.

    A word is a run of letters and digits; or one character of Han, Kana, Thai, Lao, Khmer or Myanmar (Hangul stays in
    runs, as Korean has spaces); or one symbol, an emoji sequence (joined, with skin tones, a flag) being one; or one
    punctuation character, apostrophes included. Marks, variation selectors and invisible format characters belong to
    what they follow (UAX #29, rule WB4), and stand alone only where they follow nothing.

    Together the words are exactly the characters that are not ``str.isspace``. U+200B, the zero-width space, is not:
    it is a word of its own and ends the one before.
    """
    return [match.span() for match in _WORD.finditer(text.translate(_CLASSES))]


class _Classes(dict[int, str]):
    """Code point to class, filled in as characters are met."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = _class(code)
        return kind


_CLASSES: Final = _Classes()


def _class(code: int) -> str:
    character = chr(code)
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if code == _JOINER:
        return "j"
    if category == "Cf" and code != _ZERO_WIDTH_SPACE:
        return "m"
    if category[0] == "M" or _in(code, _SKIN_TONES) or _in(code, _HALFWIDTH_VOICING):
        return "m"
    if category[0] in "LN" or category == "Cn":
        if any(_in(code, span) for span in _UNSPACED):
            return "u"
        if category != "Cn":
            return "a"
    if _in(code, _REGIONAL):
        return "r"
    if category == "So" or code == _LEFT_RIGHT_ARROW or (category == "Cn" and _in(code, _PICTURES)):
        return "e"
    return "p"


def _in(code: int, span: tuple[int, int]) -> bool:
    return span[0] <= code <= span[1]
