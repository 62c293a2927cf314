"""Decoding in pieces gives the text of the whole, for every kind of tokenizer."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.reliability.conftest import many
from tests.tokenizers.published import FAMILIES, TEXT, metaspace

KINDS: dict[str, Callable[[], Any]] = {
    "characters": lambda: train_characters([TEXT]),
    "bytes": bytes_tokenizer,
    "bpe": lambda: train_bpe([TEXT], 300),
    "metaspace_always": partial(metaspace, "always"),
    "metaspace_never": partial(metaspace, "never"),
    **{name: make for name, (make, _) in FAMILIES.items()},
}
"""Functions that return a tokenizer of ours, or one of the library."""


def tokenizer_of(kind: str) -> Tokenizer:
    made = KINDS[kind]()
    return made if isinstance(made, Tokenizer) else Tokenizer(made)


PARTS = [
    "The cat",
    " sat",
    "  on ",
    "\n",
    "\n\n",
    " ",
    "é",
    "日本",
    "👍🏽",
    "e\u0301",
    "'t",
    "\ufffd",
    "12",
    ".",
    "▁",
    "</s>",
]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return tokenizer_of(request.param)


def check(tokenizer: Tokenizer, ids: list[int], size: int) -> None:
    """Compare the pieces after the first ``size`` ids with the whole text."""
    before, whole = tokenizer.decode(ids[:size]), tokenizer.decode(ids)
    if whole.startswith(before):  # an incomplete character at the end of the prompt changes with the next token
        pieces = list(tokenizer.decode_stream(iter(ids[size:]), context=ids[:size]))
        assert "".join(pieces) == whole[len(before) :], (ids, size)


def test_pieces_of_a_text_join_to_the_whole(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(many(60, 3000)):
        prompt, rest = ("".join(rng.choices(PARTS, k=rng.randrange(6))) for _ in range(2))
        prompt_ids = tokenizer.encode_published(prompt, add_special_tokens=True)
        check(tokenizer, prompt_ids + tokenizer.encode(" " + rest), len(prompt_ids))


def test_pieces_of_random_ids_join_to_the_whole(tokenizer: Tokenizer) -> None:
    """Models draw ids that no text has, such as incomplete characters and special tokens."""
    rng = random.Random(0)
    for _ in range(many(60, 3000)):
        ids = rng.choices(range(tokenizer.vocab_size + 2), k=12)  # the output layer may have more ids than tokens
        check(tokenizer, ids, rng.randrange(6))


def test_the_blank_after_a_prompt_stays() -> None:
    prompt = "the cat sat on the"
    for name in ("llama2", "metaspace_always", "mistral", "unigram", "wordpiece", "gemma", "gpt2"):
        tokenizer = tokenizer_of(name)
        size = len(tokenizer.encode(prompt))
        for context in (tokenizer.encode(prompt), tokenizer.encode_published(prompt, add_special_tokens=True)):
            pieces = tokenizer.decode_stream(tokenizer.encode(f"{prompt} mat")[size:], context=context)
            assert "".join(pieces) == " mat", name


def test_pieces_appear_as_early_as_possible() -> None:
    tokenizer = tokenizer_of("llama2")
    ids = tokenizer.encode("the cat\n日 on")
    pieces = list(tokenizer.decode_stream(ids))
    assert "".join(pieces) == "the cat\n日 on"
    assert pieces[0] == "the"
    assert len(pieces) > 4
