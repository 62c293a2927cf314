"""Spans: exact conversion to tags, alignment with words, wrong units of offsets, and messages."""

import itertools
import random
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.spans import check_alignment, read_spans, spans_to_tags
from gpt_lightning.data.tags import Scheme, tag_names
from gpt_lightning.data.word_split import split_words
from gpt_lightning.errors import InputError
from tests.data.drive import tags_to_spans

HARD = [
    "e\u0301a",
    "👩‍👩‍👧",
    "👍🏽",
    "🇩🇪",
    "汉字",
    "かな",
    "한국",
    " ",
    "  ",
    "\r\n",
    "\u00a0",
    "\u200b",
    "ab",
    "12",
    "'",
    ".",
]
TEXT = "Anna in Rome"
WORDS = [(0, 4), (5, 7), (8, 12)]


def random_spans(generator: random.Random, words: list[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Return spans of complete words that share no word."""
    edges = sorted(generator.sample(range(len(words) + 1), k=generator.randint(0, len(words))))
    chosen = [pair for pair in itertools.pairwise(edges) if generator.random() < 0.7]
    return [(words[first][0], words[stop - 1][1], generator.choice(["A", "B", "C-d"])) for first, stop in chosen]


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "BILOU"])
def test_spans_are_recovered_from_tags(scheme: Scheme) -> None:
    generator = random.Random(0)
    found = 0
    for _ in range(500):
        text = "".join(generator.choices(HARD, k=generator.randrange(20)))
        words = split_words(text)
        spans = random_spans(generator, words)
        check_alignment(spans, text, words, "a:1")
        tags = spans_to_tags(generator.sample(spans, len(spans)), text, words, scheme, "a:1")
        assert set(tags) <= set(tag_names(["A", "B", "C-d"], scheme))
        assert tags_to_spans(tags, words) == spans
        found += len(spans)
    assert found > 700


@pytest.mark.parametrize(("scheme", "expected"), [("BIO", "B-A I-A I-A B-B B-A O"), ("BIOES", "B-A I-A E-A S-B S-A O")])
def test_words_that_overlap_a_span_belong_to_it(scheme: Scheme, expected: str) -> None:
    words = [(0, 2), (3, 5), (6, 8), (9, 11), (11, 12), (12, 14)]
    spans = [(11, 12, "A"), (1, 7, "A"), (8, 11, "B")]
    assert spans_to_tags(spans, "ab cd ef gh.ij", words, scheme, "a:1") == expected.split()


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (
            [(5, 12, "LOC"), (0, 7, "PER")],
            r"the span 0-7 'Anna in' \('PER'\) and the span 5-12 'in Rome' \('LOC'\) overlap, but a word has only one ",
        ),
        ([(0, 4, "A"), (0, 4, "A")], r"the span 0-4 'Anna' \('A'\) and the span 0-4 'Anna' \('A'\) overlap"),
        (
            [(0, 2, "A"), (2, 4, "B")],
            r"the span 0-2 'An' \('A'\) and .* 'na' \('B'\) share the word 'Anna', but a word",
        ),
        ([(4, 5, "A")], r"the span 4-5 ' ' \('A'\) contains no word of the text; fix or remove it$"),
    ],
)
def test_invalid_spans_are_refused(spans: list[tuple[int, int, str]], message: str) -> None:
    with pytest.raises(InputError, match=f"^a:1: {message}"):
        spans_to_tags(spans, TEXT, WORDS, "BIO", "a:1")


@pytest.mark.parametrize(
    ("text", "start", "end", "message"),
    [
        (
            "Anna in Rome",
            0,
            5,
            r"0-5 'Anna ' \('X'\) does not begin and end with a word: the words there are 'Anna'; fix",
        ),
        (
            "Anna in Rome",
            1,
            7,
            r"1-7 'nna in' .*: the words there are 'Anna in'; fix the offsets, or tag all words that",
        ),
        (
            "Take Vitamin C daily",
            5,
            13,
            r"5-13 'Vitamin ' .* seem to be characters with inclusive ends \('Vitamin C'\)",
        ),
        (
            "💩😀 Anna now lives",
            9,
            13,
            r"9-13 'ow l' .* the offsets seem to be UTF-8 bytes \('Anna'\): convert them to",
        ),
        (
            "💩😀 Anna now lives",
            5,
            9,
            r"5-9 'na n' .* the offsets seem to be UTF-16 code units \('Anna'\): convert them",
        ),
    ],
)
def test_spans_off_word_borders_are_reported_with_both_texts(text: str, start: int, end: int, message: str) -> None:
    with pytest.raises(InputError, match=f"^a:1: the span {message}"):
        check_alignment([(start, end, "X")], text, split_words(text), "a:1")


def span(start: Any, end: Any, **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "label": "X", **more}


def test_offsets_beyond_the_text_may_be_bytes() -> None:
    text = "Zoë in 東京"
    with pytest.raises(
        InputError, match=r"^a:1: the span 8-14 \('X'\) is empty or outside .* UTF-8 bytes \('Zoë', '東京'"
    ):
        read_spans([span(0, 4), span(8, 14)], text, split_words(text), "a:1")


def test_texts_of_spans_may_have_another_unicode_form() -> None:
    text = "Zoe\u0308 in Rome"
    assert read_spans([span(0, 4, text="Zo\u00eb")], text, split_words(text), "a:1") == [(0, 4, "X")]
    with pytest.raises(
        InputError, match=r"the span 0-3 \('X'\) is 'Zoe' in the text, but its \"text\" is 'Zoë'; fix the"
    ):
        read_spans([span(0, 3, text="Zo\u00eb")], text, split_words(text), "a:1")


UNITS: dict[str, Callable[[str], int]] = {
    "UTF-8 bytes": lambda text: len(text.encode()),
    "UTF-16 code units": lambda text: len(text.encode("utf-16-le")) // 2,
}


@pytest.mark.parametrize("is_inclusive", [False, True])
@pytest.mark.parametrize("unit", ["characters", *UNITS])
def test_only_offsets_in_characters_are_accepted(unit: str, is_inclusive: bool) -> None:
    generator = random.Random(0)
    refused = 0
    for _ in range(400):
        alphabet = [
            *HARD,
            chr(generator.randrange(0x10000, sys.maxunicode)),
            chr(generator.randrange(0xA0, 0xD800)),
            " ",
        ]
        text = "".join(generator.choices(alphabet, k=generator.randint(1, 15)))
        words = split_words(text)
        spans = random_spans(generator, words)
        right = [span(start, end, text=text[start:end]) | {"label": label} for start, end, label in spans]
        assert read_spans(right, text, words, "a:1") == spans
        measure = UNITS.get(unit, len)
        rows = [
            {**each, "start": measure(text[: each["start"]]), "end": measure(text[: each["end"]]) - is_inclusive}
            for each in right
        ]
        if rows == right:
            continue
        with pytest.raises(InputError) as caught:
            read_spans(rows, text, words, "a:1")
        texts = ", ".join(short_repr(each["text"]) for each in right[:3])
        assert re.search("the offsets seem to be .*" + re.escape(f" ({texts}): convert them"), str(caught.value))
        refused += 1
    assert refused > 150 or (unit, is_inclusive) == ("characters", False)
