"""Words: disjoint, ordered, covering all characters but whitespace, and never splitting a user-perceived character."""

import random
import sys
import time
import unicodedata

import pytest

from gpt_lightning.data.word_split import split_words

HARD = [
    *["e\u0301", "o\u0323\u0302", "é", "👩‍👩‍👧", "🏳️‍🌈", "👍🏽", "🇩🇪", "1️⃣", "☺️", "🙂‍↔️"],
    *["汉", "字", "か", "カﾞ", "한국", "ไทย", "नमस्ते", "שלום", "عربى", "a", "Bc", "12", "'", "’", ".", "-", "_", "$"],
    *[" ", "  ", "\r\n", "\n", "\t", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\u2028"],
    *["\U000e0100", "\x00", "\U0010ffff"],
]


def words(text: str) -> list[str]:
    return [text[start:stop] for start, stop in split_words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \r\n\u00a0\t", []),
        ("  Don't stop,\r\nit’s 3.14!", ["Don", "'", "t", "stop", ",", "it", "’", "s", "3", ".", "14", "!"]),
        ("snake_case a-b", ["snake", "_", "case", "a", "-", "b"]),
        ("cafe\u0301s o\u0323\u0302 x\u00a0y", ["cafe\u0301s", "o\u0323\u0302", "x", "y"]),
        ("नमस्ते שָׁלוֹם می‌خواهم", ["नमस्ते", "שָׁלוֹם", "می‌خواهم"]),
        ("汉字かなカﾞ、〇々", ["汉", "字", "か", "な", "カﾞ", "、", "〇", "々"]),
        ("葛\U000e0100飾", ["葛\U000e0100", "飾"]),
        ("서울에서 살다", ["서울에서", "살다"]),
        ("กำก่", ["ก", "ำ", "ก่"]),
        ("iPhone汉a1", ["iPhone", "汉", "a1"]),
        ("👩‍👩‍👧👍🏽🏳️‍🌈☺️", ["👩‍👩‍👧", "👍🏽", "🏳️‍🌈", "☺️"]),
        ("🇩🇪🇫🇷🇩", ["🇩🇪", "🇫🇷", "🇩"]),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿🙂‍↔️\U0001fae8\U0001fae8", ["🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🙂‍↔️", "\U0001fae8", "\U0001fae8"]),
        ("1️⃣#️⃣", ["1️⃣", "#️⃣"]),
        ("a\u200bb", ["a", "\u200b", "b"]),
        ("co\u00adop \u0301 \u200d", ["co\u00adop", "\u0301", "\u200d"]),
        ("$€++", ["$", "€", "+", "+"]),
        ("क्‍.", ["क्‍", "."]),
    ],
)
def test_words_are_as_documented(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def check(text: str) -> None:
    spans = split_words(text)
    flat = [edge for span in spans for edge in span]
    assert flat == sorted(flat)
    assert all(start < stop for start, stop in spans)
    covered = {i for start, stop in spans for i in range(start, stop)}
    assert covered == {i for i, character in enumerate(text) if not character.isspace()}
    for start, _ in spans:
        if unicodedata.category(text[start])[0] == "M":
            assert start == 0 or text[start - 1].isspace(), "a mark was separated from its character"


def test_words_cover_all_but_whitespace_and_keep_marks() -> None:
    generator = random.Random(0)
    for _ in range(2000):
        check("".join(generator.choices(HARD, k=generator.randrange(20))))
    for _ in range(2000):
        check("".join(chr(generator.randrange(sys.maxunicode + 1)) for _ in range(generator.randrange(20))))


def test_every_character_is_whitespace_or_a_word() -> None:
    for code in [*range(0, 0x20000, 4096), 0xE0000]:  # all other planes are Han, private use or unassigned
        check(" ".join(map(chr, range(code, code + 4096))))
        check("".join(map(chr, range(code, code + 4096))))


def test_a_million_characters_take_less_than_two_seconds() -> None:
    text = "It was the best of times, it was the worst of times -- wasn’t it?\n" * 15_000
    start = time.process_time()
    assert len(split_words(text)) == 15_000 * 20
    assert time.process_time() - start < 2
