"""Swaps of words: case, ambiguous pronouns, places in text, involution, and files of the user."""

import json
from pathlib import Path
from random import Random

import pytest

from gpt_lightning.data.word_swaps.load import load_swaps
from gpt_lightning.data.word_swaps.swaps import Swaps
from gpt_lightning.data.word_swaps.word_lists import BUILT_IN
from gpt_lightning.errors import InputError

GENDER = load_swaps("gender", "--swaps")


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("He said SHE is his aunt, Mary.", "She said HE is her uncle, James."),
        ("he's John's boyfriend (\"She'll see\")", "she's Jennifer's girlfriend (\"He'll see\")"),
        ("Her old book is hers; his is new.", "His old book is his; hers is new."),
        ("I saw her in Rome with the map of her city.", "I saw him in Rome with the map of his city."),
        ("It is his.", "It is hers."),
        ("We met HIM.", "We met HER."),
        ("his mother and her father", "her father and his mother"),
        ("him and her «fiancé»", "her and him «fiancé»"),
        ("the theme of this Heather hE shE", "the theme of this Aaron hE shE"),
        ("_he_ she-wolf", "_she_ he-wolf"),
        ("Jose\u0301 and jose", "Jose\u0301 and diane"),
        ("", ""),
        ("nobody", "nobody"),
    ],
)
def test_words_are_swapped_and_keep_their_case(text: str, swapped: str) -> None:
    assert GENDER(text).text == swapped


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_swap_is_undone_by_a_second_one(name: str) -> None:
    """``him`` and ``hers`` are left out: "her" after a swap is read by the next word, which may be a noun."""
    swaps, rng = load_swaps(name, "--swaps"), Random(0)
    words = [word for pair in BUILT_IN[name][1] for word in pair if word not in ("him", "hers")]
    words += ["the", "book", "was", "in", "old", "Émile", "İ", "ß", "x1", "hE"]
    glue = [" ", " ", " ", ", ", "-", ". ", "'s ", "\n", "\u00a0", ' "', "_"]
    for _ in range(500):
        cases = (str.lower, str.upper, str.capitalize)
        text = "".join(rng.choice(cases)(rng.choice(words)) + rng.choice(glue) for _ in range(rng.randrange(12)))
        new = swaps(text)
        back = swaps(new.text)
        assert back.text == text
        assert [each.group for each in new.replacements] == [1 - each.group for each in back.replacements]


def test_the_pronouns_him_and_hers_return_where_no_noun_follows() -> None:
    for text in ("I saw him.", "Give him the book", "it is hers, not his.", "hers was in Rome"):
        assert GENDER(GENDER(text).text).text == text


def test_places_move_with_their_words() -> None:
    text = "Mary, her aunt, met James in Mary's house."
    new = GENDER(text)
    rng = Random(1)
    assert new.text == "James, his uncle, met Mary in James's house."
    for each in new.replacements:
        start, end = new.moved(each.start, each.end)
        assert new.text[start:end] == each.text
    for _ in range(200):
        start, end = sorted(rng.sample(range(len(text) + 1), 2))
        inside = [each for each in new.replacements if each.start < end and start < each.end]
        whole = min([start, *(each.start for each in inside)]), max([end, *(each.end for each in inside)])
        assert GENDER(text[slice(*whole)]).text.replace("him", "his") == new.text[slice(*new.moved(start, end))]


def test_a_file_of_the_user(tmp_path: Path) -> None:
    content = {"groups": ["north", "south"], "pairs": [["Mara", "Bram"], ["igloo", "tent"], ["her", "his"]]}
    for name, text in (("swaps.json", json.dumps(content)), ("swaps.yaml", "groups: [a, b]\npairs:\n- [mara, bram]\n")):
        (tmp_path / name).write_text(text)
        assert load_swaps(str(tmp_path / name), "--swaps")("MARA's brambles").text == "BRAM's brambles"
    assert load_swaps(str(tmp_path / "swaps.json"), "--swaps")("Her igloo").text == "His tent"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("groups: [a, b]\npairs: [[x", r"swaps.yaml:3: not YAML or JSON"),
        ("[]", "not a mapping with the keys groups and pairs"),
        ("groups: [a]\npairs: [[she, he]]", "groups is \\['a'\\], not the names of two groups"),
        ("groups: [a, b]\npairs: []", "pairs is \\[\\], not a list"),
        ("groups: [a, b]\npairs: [[she, he], [yes, off]]", "pair 2 is \\[True, False\\].*quotes"),
        ("groups: [a, b]\npairs: [[she, he], [aunt, she]]", "pair 2 has the word 'she'"),
        ("groups: [a, b]\npairs: [[she, he], [she, it]]", "pair 2 has the word 'she'"),
        ("groups: [a, b]\npairs: [[her, him], [her, him]]", "pair 2 has the word 'her'"),
        ("groups: [a, b]\npairs: [[she, She]]", "not two different words"),
        ("groups: [a, b]\npairs: [[old woman, man]]", "not two different words"),
        ("groups: [a, b]\npairs: [[a, bb]]", "at least two letters"),
        ("groups: [a, b]\npairs: [[stra\u00dfe, weg]]", "not two different words"),
        ("a: &x [*x]", "swaps.yaml"),
        ("[" * 200, "swaps.yaml: .*nested"),
    ],
)
def test_invalid_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "swaps.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_swaps(str(path), "--swaps")
    assert str(path) in str(caught.value)


def test_a_missing_file_names_the_lists() -> None:
    with pytest.raises(InputError, match=r"gendr: no such file.*--swaps: Give one of the lists gender, race_names"):
        load_swaps("gendr", "--swaps")


def test_built_in_lists_have_no_word_twice() -> None:
    for groups, pairs in BUILT_IN.values():
        assert len(set(pairs)) == len(pairs)
        Swaps(groups, pairs)
