"""Tags: errors, exact conversion between tags and spans, and the rules of conlleval for inconsistent tags."""

import itertools
import random

import pytest

from gpt_lightning.data.tags import Scheme, check_tags, convert_tags, spans_to_tags, tag_names
from gpt_lightning.data.word_split import split_words
from gpt_lightning.errors import InputError
from tests.data.drive import tags_to_spans

SCHEMES: list[Scheme] = ["BIO", "BIOES"]
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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "O",
        "B-PER I-PER O B-PER B-PER I-PER",
        "B-A E-A S-A B-A I-A E-A S-B O",
        "B-A O S-B B-A I-A B-B E-B",
        "B-A-b I-A-b",
    ],
)
def test_tags_of_both_schemes_are_accepted(text: str) -> None:
    check_tags(text.split(), "a.conll:1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "O X",
            r"^a\.conll:7: tag 'X' of word 2 \(index 1\) is neither O nor a type with the prefix B-, .*fix it$",
        ),
        ("B-", r"tag 'B-' of word 1 \(index 0\) is neither O"),
        ("b-PER", r"tag 'b-PER' of word 1"),
        ("o", r"tag 'o' of word 1"),
        ("OO", r"tag 'OO' of word 1"),
        ("L-PER", r"tag 'L-PER' of word 1"),
        (
            "I-PER",
            r"tag 'I-PER' of word 1 \(index 0\) does not follow B-PER or I-PER; start the span with B-PER or fix",
        ),
        ("B-LOC I-PER", r"tag 'I-PER' of word 2 \(index 1\) does not follow B-PER"),
        ("B-PER O E-PER", r"tag 'E-PER' of word 3 \(index 2\) does not follow B-PER"),
        ("S-PER I-PER", r"tag 'I-PER' of word 2"),
        ("B-PER E-PER E-PER", r"tag 'E-PER' of word 3"),
    ],
)
def test_invalid_tags_are_refused_with_their_word(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_tags(text.split(), "a.conll:7")


def test_a_tag_that_is_not_a_string_is_refused() -> None:
    with pytest.raises(InputError, match=r"^a:1: tag None of word 2 \(index 1\) is neither O"):
        check_tags(["O", None], "a:1")  # type: ignore[list-item]


def test_tag_names_are_sorted_after_outside() -> None:
    assert tag_names(["PER", "LOC", "PER"], "BIO") == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert tag_names(["X"], "BIOES") == ["O", "B-X", "I-X", "E-X", "S-X"]
    assert tag_names([], "BIOES") == ["O"]


@pytest.mark.parametrize(("scheme", "expected"), [("BIO", "B-A I-A I-A B-B B-A O"), ("BIOES", "B-A I-A E-A S-B S-A O")])
def test_words_that_overlap_a_span_belong_to_it(scheme: Scheme, expected: str) -> None:
    words = [(0, 2), (3, 5), (6, 8), (9, 11), (11, 12), (12, 14)]
    assert spans_to_tags([(11, 12, "A"), (1, 7, "A"), (8, 11, "B")], words, scheme, "a:1") == expected.split()


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (
            [(3, 5, "A"), (0, 4, "B")],
            r"^a:1: the spans \(0, 4, 'B'\) and \(3, 5, 'A'\) overlap, but a word has only one tag",
        ),
        ([(0, 2, "A"), (0, 2, "A")], r"the spans .* overlap"),
        ([(0, 9, "A"), (1, 2, "A"), (3, 4, "B")], r"the spans .* overlap"),
        (
            [(0, 1, "A"), (1, 2, "B")],
            r"\(0, 1, 'A'\) and \(1, 2, 'B'\) share the word at \(0, 2\), but a word has only one tag",
        ),
        ([(2, 3, "A")], r"^a:1: the span \(2, 3, 'A'\) contains no word of the text; fix or remove it$"),
        ([(1, 1, "A")], r"the span \(1, 1, 'A'\) contains no word"),
        ([(4, 3, "A")], r"the span \(4, 3, 'A'\) contains no word"),
        ([(7, 9, "A")], r"the span \(7, 9, 'A'\) contains no word"),
        ([(0, 2, "")], r"the span \(0, 2, ''\) has no label; add its type"),
    ],
)
def test_invalid_spans_are_refused(spans: list[tuple[int, int, str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spans_to_tags(spans, [(0, 2), (3, 5), (5, 6)], "BIO", "a:1")


def random_spans(generator: random.Random, words: list[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Return spans of complete words that share no word."""
    edges = sorted(generator.sample(range(len(words) + 1), k=generator.randint(0, len(words))))
    pairs = list(itertools.pairwise(edges))
    chosen = [pair for pair in pairs if generator.random() < 0.7]
    return [(words[first][0], words[stop - 1][1], generator.choice(["A", "B", "C-d"])) for first, stop in chosen]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_are_recovered_from_tags(scheme: Scheme) -> None:
    generator = random.Random(0)
    found = 0
    for _ in range(1000):
        text = "".join(generator.choices(HARD, k=generator.randrange(20)))
        words = split_words(text)
        spans = random_spans(generator, words)
        tags = spans_to_tags(generator.sample(spans, len(spans)), words, scheme, "a:1")
        check_tags(tags, "a:1")
        assert set(tags) <= set(tag_names(["A", "B", "C-d"], scheme))
        assert tags_to_spans(tags, words) == spans
        assert [text[start:stop] for start, stop, _ in spans] == [text[start:stop].strip() for start, stop, _ in spans]
        found += len(spans)
    assert found > 1500


def conlleval(tags: list[str]) -> list[tuple[int, int, str]]:
    """Return the spans by the rules of conlleval.pl and seqeval, as (first, stop, label) in words."""
    spans, start, previous, label = [], 0, "O", ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, current = tag[0], tag[2:]
        ends = previous in "ES" or (previous in "BI" and prefix in "BSO") or (previous != "O" and label != current)
        starts = prefix in "BS" or (previous in "ESO" and prefix in "EI") or (prefix != "O" and label != current)
        if previous != "O" and ends:
            spans.append((start, i, label))
        if starts:
            start = i
        previous, label = prefix, current
    return spans


def test_inconsistent_tags_follow_conlleval() -> None:
    generator = random.Random(0)
    names = tag_names(["A", "B"], "BIOES")
    for _ in range(5000):
        tags = generator.choices(names, k=generator.randrange(8))
        words = [(3 * i, 3 * i + 2) for i in range(len(tags))]
        expected = [(3 * first, 3 * stop - 1, label) for first, stop, label in conlleval(tags)]
        assert tags_to_spans(convert_tags(tags, "BIO"), words) == expected
        assert tags_to_spans(convert_tags(tags, "BIOES"), words) == expected


def test_malformed_tags_count_as_outside() -> None:
    assert convert_tags(["B-A", "?", "I-A", "", "X-A", "B-"], "BIO") == ["B-A", "O", "B-A", "O", "O", "O"]


def test_schemes_convert_into_each_other() -> None:
    bio = ["B-A", "O", "B-A", "I-A", "B-A", "I-A", "I-A", "B-B", "O"]
    bioes = ["S-A", "O", "B-A", "E-A", "B-A", "I-A", "E-A", "S-B", "O"]
    assert convert_tags(bio, "BIOES") == convert_tags(bioes, "BIOES") == bioes
    assert convert_tags(bioes, "BIO") == convert_tags(bio, "BIO") == bio
