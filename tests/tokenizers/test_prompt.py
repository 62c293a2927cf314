"""Prompts have the token ids that transformers gives them, for tokenizers like those of published models."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer
from gpt_lightning.tokenizers.prompt import chat_prompt, text_prompt
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.tokenizers.published import FAMILIES, write_tokenizer

TEXTS = [
    "The cat sat on the",
    " the dog",
    "the mat  ",
    "café 日本 👍\n\n\tdidn't 123",
    "a <|im_start|>user<|im_end|> b </s>c<s> <|eot_id|>d [SEP] <eos> <bos>",
]
CHAT = [
    {"role": "user", "content": " Where is the cat? "},
    {"role": "assistant", "content": "On the mat."},
    {"role": "user", "content": "And the dog?"},
]


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    """Return our tokenizer of a family and transformers' own."""
    folder = write_tokenizer(tmp_path_factory.mktemp("tokenizer"), request.param)
    return load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_of_a_text(pair: tuple[Tokenizer, Any], text: str) -> None:
    ours, reference = pair
    assert text_prompt(ours, text) == reference(text)["input_ids"]
    assert text_prompt(ours, text, is_raw=True) == reference(text, add_special_tokens=False)["input_ids"]


def test_ids_of_a_chat(pair: tuple[Tokenizer, Any]) -> None:
    ours, reference = pair
    if reference.chat_template is None:
        with pytest.raises(InputError, match="the tokenizer of the model has no chat template"):
            chat_prompt(ours, CHAT)
        return
    for messages in (CHAT[:1], CHAT[:2], CHAT):
        is_answered = messages[-1]["role"] == "assistant"
        expected = reference.apply_chat_template(
            messages, add_generation_prompt=not is_answered, continue_final_message=is_answered, return_dict=False
        )
        assert chat_prompt(ours, messages) == expected


def test_an_empty_prompt_starts_a_document(pair: tuple[Tokenizer, Any]) -> None:
    ours, reference = pair
    first = reference.bos_token_id if reference.bos_token_id is not None else reference.eos_token_id
    assert text_prompt(ours, "") == (reference("")["input_ids"] or [first])
    assert text_prompt(bytes_tokenizer(), "") == [256]
    settings = {"bos_token_id": [9999, 3]}
    assert text_prompt(Tokenizer.from_json(bytes_tokenizer().to_json(), generation_config=settings), "") == [3]


def test_our_own_tokenizers_add_no_tokens() -> None:
    assert text_prompt(bytes_tokenizer(), "ab") == [97, 98]
    assert text_prompt(bytes_tokenizer(), "a<|endoftext|>") == [97, 256]


def test_flags_of_the_end_of_text_token_stay(tmp_path: Path) -> None:
    """Some tokenizers drop the whitespace after an end token, which is part of it."""
    folder = write_tokenizer(tmp_path, "llama2")
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    whole = Tokenizer.from_json(text)
    assert '"content": "</s>"' in text
    before, _, after = text.partition('"content": "</s>"')
    (folder / "tokenizer.json").write_text(
        before + '"content": "</s>"' + after.replace('"rstrip": false', '"rstrip": true', 1)
    )
    ours, reference = load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)
    assert text_prompt(ours, "a</s>  b") == reference("a</s>  b")["input_ids"]
    assert text_prompt(ours, "a</s>  b") != text_prompt(whole, "a</s>  b")
    assert ours.hash == whole.hash, "documents have the same ids"
