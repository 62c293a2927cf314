"""Splitting of texts into words.

Each character is mapped to a class, and a regular expression over the classes finds the words. Python's ``re`` has no
classes for combining marks and scripts.
"""

import re
import unicodedata
from typing import Final

# Scripts without spaces between words: each character, with its marks, is a word, so that spans can be exact. Hangul is
# not one of them, because Korean has spaces.
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
    (0x20000, 0x3FFFF),  # Han; planes 2 and 3 are reserved for it
)
_JOINER: Final = 0x200D
_ZERO_WIDTH_SPACE: Final = 0x200B
_REGIONAL: Final = (0x1F1E6, 0x1F1FF)
_SKIN_TONES: Final = (0x1F3FB, 0x1F3FF)
_HALFWIDTH_VOICING: Final = (0xFF9E, 0xFF9F)  # letters by Unicode category, but used as marks
_LEFT_RIGHT_ARROW: Final = 0x2194  # the only mathematical symbol in emoji sequences with joiners (head shaking)
_PICTURES: Final = (0x1F000, 0x1FAFF)  # block of the emoji that are newer than Python's Unicode tables

# Classes: "a" letter or digit, "u" character of a script without spaces, "m" mark, "j" zero-width joiner, "e" emoji or
# other symbol, "r" regional indicator (two make a flag), "p" punctuation and all other characters, " " whitespace.
_WORD: Final = re.compile("a[amj]*|u[mj]*|e[mj]*(?:(?<=j)e[mj]*)*|rr?[mj]*|p[mj]*|[mj]+")


def split_words(text: str) -> list[tuple[int, int]]:
    """Return the words of a text as (start, stop) in characters, in order.

    A word is one of these:

    - a run of letters and digits, Hangul included;
    - one character of Han, Kana, Thai, Lao, Khmer or Myanmar;
    - one symbol, or one emoji sequence (with joiners, with skin tones, or a flag);
    - one punctuation character, such as an apostrophe.

    Marks, variation selectors and invisible format characters belong to the character before them (UAX #29, rule WB4).
    They are words only after whitespace or at the start of the text.

    The words cover exactly the characters for which ``str.isspace`` is false. U+200B, the zero-width space, is such a
    character: it is a word and ends the word before it.
    """
    return [match.span() for match in _WORD.finditer(text.translate(_CLASSES))]


def is_unspaced(character: str) -> bool:
    """Return whether a character is of a script without spaces, such as Han, where each character is a word."""
    return _CLASSES[ord(character)] == "u"


class _Classes(dict[int, str]):
    """Table from code points to classes, computed on first use."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = _class(code)
        return kind


_CLASSES: Final = _Classes()


def _class(code: int) -> str:
    """Return the class of a code point."""
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
