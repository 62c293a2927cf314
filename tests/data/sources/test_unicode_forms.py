"""Answers in another Unicode form than their context: they are found at their place, and nothing else is."""

import random
import unicodedata
from typing import Any

import pytest

from gpt_lightning.data.sources.unicode_forms import Form, find_normalized
from gpt_lightning.errors import InputError
from tests.data.sources.test_squad import parse_row, parse_valid_row

NFC, NFD = "Caf\u00e9 Nord", "Cafe\u0301 Nord"
CONTEXT = f"Zoe\u0308 likes {NFD} \ufb01ne."
PIECES = [
    "e\u0301",
    "\u00e9",
    "o\u0323\u0302",
    "\u1ed9",
    "\u1100\u1161\u11a8",
    "\uac01",
    "a",
    "b",
    " ",
    "👩‍👩‍👧",
    "\U0001d400",
]


def row(text: str, start: int) -> dict[str, Any]:
    answers = [{"text": text, "answer_start": start}]
    return {"id": "q", "question": "Where?", "context": CONTEXT, "answers": answers}


@pytest.mark.parametrize("start", [CONTEXT.index("C"), unicodedata.normalize("NFC", CONTEXT).index("C")])
def test_an_answer_in_another_form_is_found(start: int) -> None:
    error = parse_row(row(NFC, CONTEXT.index("C")))
    assert isinstance(error, InputError)
    assert "but they differ in Unicode normalization; add --data.normalize=nfc, or convert both" in str(error)
    form: Form = "nfc"
    found = parse_valid_row(row(NFC, start), form=form)
    assert found.answers == ((NFD, CONTEXT.index("C")),)
    assert found.context == CONTEXT


def test_compatibility_forms_need_nfkc() -> None:
    place = CONTEXT.index("\ufb01")
    error = parse_row(row("fine", place))
    assert "add --data.normalize=nfkc" in str(error)
    assert isinstance(parse_row(row("fine", place), form="nfc"), InputError)
    assert parse_valid_row(row("fine", place), form="nfkc").answers == (("\ufb01ne", place),)


def test_other_mistakes_stay_mistakes() -> None:
    for text, start in ((NFC, 0), ("Caf", CONTEXT.index("C") + 1), (NFC, 999), ("Cafe Nord", CONTEXT.index("C"))):
        error = parse_row(row(text, start), form="nfc")
        assert isinstance(error, InputError)
        assert "normalization" not in str(error)


def test_random_answers_are_found_exactly_where_they_are() -> None:
    generator = random.Random(0)
    found_in_other_form = 0
    for _ in range(1000):
        before, answer, after = ("".join(generator.choices(PIECES, k=generator.randint(1, 6))) for _ in range(3))
        context, (start, stop) = before + answer + after, (len(before), len(before + answer))
        other = unicodedata.normalize(generator.choice(["NFC", "NFD"]), answer)
        normalized_start = len(unicodedata.normalize("NFC", before))
        for place in (start, normalized_start):
            found = find_normalized(other, place, context, "nfc")
            if place == start:
                assert found == (start, stop)
            elif found is not None:
                assert unicodedata.normalize("NFC", context[slice(*found)]) == unicodedata.normalize("NFC", answer)
        found_in_other_form += other != answer
    assert found_in_other_form > 300
