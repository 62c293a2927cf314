"""Schemes of files: they are detected, mistakes are reported, and their entities are those of seqeval."""

import random
from typing import Any

import pytest
import seqeval.scheme  # type: ignore[import-untyped]
from seqeval.scheme import Entities

from gpt_lightning.data.tag_schemes import SCHEMES, FileScheme, check_tags, find_scheme
from gpt_lightning.data.tags import Scheme, convert_tags
from gpt_lightning.errors import InputError
from gpt_lightning.metrics.entity_f1 import entities

NAMES = {"IOB2": "IOB2", "IOB1": "IOB1", "BIOES": "IOBES", "BILOU": "BILOU"}
"""Our name -> seqeval's name."""
BY_NAME = {scheme.name: scheme for scheme in SCHEMES}

Entity = tuple[str, int, int]


def random_entities(generator: random.Random, num_words: int) -> list[Entity]:
    """Return entities in order; neighbors of the same type are frequent."""
    found, word = list[Entity](), 0
    while word < num_words:
        length = generator.choice([1, 1, 2, 3])
        if generator.random() < 0.6 and word + length <= num_words:
            found.append((generator.choice(["A", "B-c"]), word, word + length))
            word += length
        else:
            word += 1
    return found


def write(found: list[Entity], num_words: int, scheme: str) -> list[str]:
    """Return the tags of entities in a scheme, by its definition."""
    tags = ["O"] * num_words
    last, single = {"BIOES": ("E", "S"), "BILOU": ("L", "U")}.get(scheme, ("I", "B"))
    for kind, first, stop in found:
        follows_same = any(other == kind and end == first for other, _, end in found)
        begin = "I" if scheme == "IOB1" and not follows_same else "B"
        letters = [begin, *"I" * (stop - first - 2), last] if stop - first > 1 else [single if single != "B" else begin]
        tags[first:stop] = [f"{letter}-{kind}" for letter in letters]
    return tags


def random_file(generator: random.Random, scheme: str) -> tuple[list[list[Entity]], list[list[str]]]:
    sizes = [generator.randint(1, 9) for _ in range(20)]
    found = [random_entities(generator, size) for size in sizes]
    return found, [write(each, size, scheme) for each, size in zip(found, sizes, strict=True)]


@pytest.mark.parametrize("name", BY_NAME)
def test_schemes_are_found_and_entities_equal_those_of_seqeval(name: str) -> None:
    generator = random.Random(0)
    schemes: list[Scheme] = ["BIO", "BIOES", "BILOU"]
    for _ in range(20):
        found, texts = random_file(generator, name)
        assert find_scheme(texts) == BY_NAME[name]
        by_seqeval = Entities(texts, getattr(seqeval.scheme, NAMES[name])).entities
        for entities_of_text, tags, expected in zip(found, texts, by_seqeval, strict=True):
            check_tags(tags, BY_NAME[name], "a:1")
            assert [(entity.tag, entity.start, entity.end) for entity in expected] == entities_of_text
            for scheme in schemes:
                converted = convert_tags(tags, scheme)
                assert entities(converted) == entities_of_text
                assert converted == write(entities_of_text, len(tags), {"BIO": "IOB2"}.get(scheme, scheme))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_text_with_a_mistake_does_not_change_the_scheme(name: str) -> None:
    generator = random.Random(1)
    other = {"IOB2": "IOB1", "IOB1": "IOB2", "BIOES": "BILOU", "BILOU": "IOB2"}[name]
    _, texts = random_file(generator, name)
    odd = write([("A", 0, 2), ("A", 3, 4)], 5, other)
    assert find_scheme([odd, *texts]) == BY_NAME[name]
    with pytest.raises(
        InputError, match=rf"^a:1: tag .* (?:in|of) {name}, the scheme that fits most texts of this file; fix"
    ):
        check_tags(odd, BY_NAME[name], "a:1")


def test_texts_without_entities_fit_every_scheme() -> None:
    assert find_scheme([]) == find_scheme([["O", "O"], []]) == BY_NAME["IOB2"]
    assert find_scheme([["I-A", "O"]]) == BY_NAME["IOB1"]
    assert find_scheme([["U-A"], [None], ["?"], ["B-A", "L-A"]]) == BY_NAME["BILOU"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("IOB2", "O X", r"tag 'X' of word 2 \(index 1\) is neither O nor a type with the prefix B-, .*fix it$"),
        ("IOB2", "B-", r"tag 'B-' of word 1 \(index 0\) is neither O"),
        ("IOB2", "b-PER", r"tag 'b-PER' of word 1"),
        ("IOB2", "o", r"tag 'o' of word 1"),
        ("IOB2", "OO", r"tag 'OO' of word 1"),
        ("IOB2", "L-PER", r"tag 'L-PER' of word 1 \(index 0\) is not a tag of IOB2, the scheme that fits most texts"),
        ("IOB2", "I-PER", r"tag 'I-PER' of word 1 \(index 0\) at the start of the text is wrong in IOB2, the scheme"),
        ("IOB2", "B-LOC I-PER", r"tag 'I-PER' of word 2 \(index 1\) after 'B-LOC' is wrong in IOB2, the scheme"),
        ("IOB1", "O B-PER", r"tag 'B-PER' of word 2 \(index 1\) after 'O' is wrong in IOB1"),
        ("BIOES", "B-PER O E-PER", r"tag 'O' of word 2 \(index 1\) after 'B-PER' is wrong in BIOES"),
        ("BIOES", "S-PER I-PER", r"tag 'I-PER' of word 2 .* after 'S-PER' is wrong in BIOES"),
        ("BIOES", "B-PER E-PER E-PER", r"tag 'E-PER' of word 3 .* after 'E-PER' is wrong"),
        ("BIOES", "O B-PER", r"tag 'B-PER' of word 2 \(index 1\) at the end of the text is wrong in BIOES"),
        ("BILOU", "B-PER U-PER", r"tag 'U-PER' of word 2 \(index 1\) after 'B-PER' is wrong in BILOU"),
    ],
)
def test_mistakes_are_reported_with_their_word(name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^a\\.conll:7: {message}"):
        check_tags(text.split(), BY_NAME[name], "a.conll:7")


def test_a_tag_that_is_not_a_string_is_refused() -> None:
    tags: list[Any] = ["O", None]
    with pytest.raises(InputError, match=r"^a:1: tag None of word 2 \(index 1\) is neither O"):
        check_tags(tags, BY_NAME["IOB2"], "a:1")


def test_every_scheme_accepts_only_its_own_random_tags() -> None:
    """Random sequences that a scheme accepts have the same entities in seqeval's strict reading of that scheme."""
    generator = random.Random(2)
    accepted = dict.fromkeys(BY_NAME, 0)
    for _ in range(4000):
        scheme: FileScheme = generator.choice(SCHEMES)
        letters = scheme.letters.removeprefix("O")
        tags = [
            generator.choice(["O", *(f"{letter}-{kind}" for letter in letters for kind in "AB")])
            for _ in range(generator.randint(1, 4))
        ]
        try:
            check_tags(tags, scheme, "a:1")
        except InputError:
            continue
        accepted[scheme.name] += 1
        (by_seqeval,) = Entities([tags], getattr(seqeval.scheme, NAMES[scheme.name])).entities
        assert entities(convert_tags(tags, "BIO")) == [(entity.tag, entity.start, entity.end) for entity in by_seqeval]
    assert min(accepted.values()) > 100
