"""Settings of decoding: those of users replace those of models, and invalid ones are refused."""

from typing import Any

import pytest

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.decoding import Decoding, choose_decoding
from gpt_lightning.models.generation.generate import Sampling

SAMPLED = {"temperature": 0.6, "top_k": 50, "top_p": 0.9}
BEAMS = {"num_beams": 4, "length_penalty": 2.0}


@pytest.mark.parametrize(
    ("given", "defaults", "expected", "used"),
    [
        ({}, {}, Decoding(), {}),
        ({"num_beams": 2}, {}, Decoding(sampling=Sampling(temperature=0.0), num_beams=2), {}),
        ({"top_k": None}, SAMPLED, Decoding(sampling=Sampling(temperature=0.6, top_k=50, top_p=0.9)), SAMPLED),
        (
            {"temperature": 1.0},
            SAMPLED,
            Decoding(sampling=Sampling(temperature=1.0, top_k=50, top_p=0.9)),
            {"top_k": 50, "top_p": 0.9},
        ),
        ({"temperature": 0.0}, SAMPLED, Decoding(sampling=Sampling(temperature=0.0)), {}),
        ({"num_beams": 3}, SAMPLED, Decoding(sampling=Sampling(temperature=0.0), num_beams=3), {}),
        ({}, BEAMS, Decoding(sampling=Sampling(temperature=0.0), num_beams=4, length_penalty=2.0), BEAMS),
        ({"temperature": 0.5}, BEAMS, Decoding(sampling=Sampling(temperature=0.5)), {}),
        ({"num_beams": 1}, {**BEAMS, "min_new_tokens": 2}, Decoding(min_new_tokens=2), {"min_new_tokens": 2}),
    ],
)
def test_settings_of_the_user_replace_those_of_the_model(
    given: dict[str, Any], defaults: dict[str, Any], expected: Decoding, used: dict[str, Any]
) -> None:
    decoding, found = choose_decoding(given, defaults)
    assert found == used
    ignored = {} if decoding.num_beams > 1 else {"length_penalty": 1.0}
    assert {**vars(decoding), **ignored} == vars(expected)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"max_new_tokens": 0}, "--max_new_tokens=0 must be at least 1"),
    ({"max_new_tokens": 10**12}, "--max_new_tokens=1000000000000 must be at most 2147483647"),
    ({"min_new_tokens": -1}, "--min_new_tokens=-1 must be at least 0"),
    (
        {"min_new_tokens": 9, "max_new_tokens": 8},
        "--min_new_tokens=9 is more than --max_new_tokens=8. Lower the one, or raise the other",
    ),
    ({"temperature": -0.5}, "--temperature -0.5 must be 0 (greedy), or 1e-06 or more"),
    ({"temperature": float("nan")}, "--temperature=nan must be a finite number"),
    ({"temperature": "hot"}, "--temperature='hot' must be a finite number"),
    ({"top_k": 0}, "--top_k=0 must be at least 1"),
    ({"top_k": 2.5}, "--top_k=2.5 must be a whole number"),
    ({"top_p": 1.5}, "--top_p 1.5 must lie in (0, 1]"),
    ({"top_p": "x"}, "--top_p='x' must be a finite number"),
    ({"num_beams": 0}, "--num_beams=0 must be at least 1"),
    ({"num_beams": 10**6}, "--num_beams=1000000 must be at most 1000"),
    ({"num_beams": "4"}, "--num_beams='4' must be a whole number"),
    (
        {"num_beams": 4, "temperature": 0.7},
        "--num_beams=4 is beam search, which does not sample. Leave out --num_beams or --temperature",
    ),
    (
        {"num_beams": 4, "top_p": 0.7},
        "--num_beams=4 is beam search, which does not sample. Leave out --num_beams or --top_p",
    ),
    ({"length_penalty": 2.0}, "--length_penalty is a setting of beam search. Add --num_beams, or leave it out"),
    ({"num_beams": 2, "length_penalty": 1e9}, "--length_penalty=1000000000.0 must be at most 10"),
    ({"num_beams": 2, "length_penalty": -11}, "--length_penalty=-11 must be at least -10"),
    ({"repetition_penalty": 0.0}, "--repetition_penalty=0 must be above 0; 1 is no penalty"),
    ({"repetition_penalty": -1.0}, "--repetition_penalty=-1.0 must be at least 0"),
    ({"repetition_penalty": float("inf")}, "--repetition_penalty=inf must be a finite number"),
    ({"no_repeat_ngram_size": -1}, "--no_repeat_ngram_size=-1 must be at least 0"),
    ({"stop": ["a", ""]}, "--stop is empty, so no text could be generated. Give a text, or leave --stop out"),
]


@pytest.mark.parametrize(("given", "message"), INVALID, ids=str)
def test_invalid_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        choose_decoding(given, {})
    assert str(error.value) == message


def test_beam_search_with_a_temperature_is_refused() -> None:
    with pytest.raises(InputError, match="--num_beams=2 is beam search, which does not sample, so that --temperature"):
        Decoding(num_beams=2)
