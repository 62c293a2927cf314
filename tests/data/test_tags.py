"""Tags: names, conversion between schemes, and the rules of conlleval for inconsistent tags."""

import random

from gpt_lightning.data.tags import Scheme, convert_tags, scheme_of, tag_names
from tests.data.drive import tags_to_spans

SCHEMES: list[Scheme] = ["BIO", "BIOES", "BILOU"]


def test_tag_names_are_sorted_after_outside() -> None:
    assert tag_names(["PER", "LOC", "PER"], "BIO") == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert tag_names(["X"], "BIOES") == ["O", "B-X", "I-X", "E-X", "S-X"]
    assert tag_names(["X"], "BILOU") == ["O", "B-X", "I-X", "L-X", "U-X"]
    assert tag_names([], "BIOES") == ["O"]


def test_the_scheme_of_names_is_recognized() -> None:
    for scheme in SCHEMES:
        assert scheme_of(tag_names(["A", "B"], scheme)) == scheme


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
    iob1 = ["I-A", "O", "I-A", "I-A", "B-A", "I-A", "I-A", "I-B", "O"]
    bioes = ["S-A", "O", "B-A", "E-A", "B-A", "I-A", "E-A", "S-B", "O"]
    bilou = ["U-A", "O", "B-A", "L-A", "B-A", "I-A", "L-A", "U-B", "O"]
    for tags in (bio, iob1, bioes, bilou):
        assert convert_tags(tags, "BIO") == bio
        assert convert_tags(tags, "BIOES") == bioes
        assert convert_tags(tags, "BILOU") == bilou
