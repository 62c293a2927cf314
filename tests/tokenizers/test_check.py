"""Check of a tokenizer.json that this package did not make."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers import check
from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters
from gpt_lightning.tokenizers.check import check_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

BPE: dict[str, Any] = {"type": "BPE", "vocab": {"a": 0, "b": 1, "<|endoftext|>": 2}, "merges": []}
WORD_PIECE = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": {"a": 0},
}


@pytest.fixture(autouse=True)
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder for the digests of checked tokenizers."""
    monkeypatch.setattr(check, "CHECKED", str(tmp_path / "checked"))
    monkeypatch.setattr(check, "_passed", set())
    return tmp_path / "checked"


def text_of(**parts: Any) -> str:
    """Return the JSON of a small tokenizer."""
    return json.dumps({"version": "1.0", "added_tokens": [], "model": BPE, **parts})


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def replace(before: str, after: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": before}, "content": after}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"pre_tokenizer": split("(a+)+$x")}, "retry-limit-in-match over"),
        ({"model": WORD_PIECE}, r"Missing \[UNK\] token"),
        ({"model": BPE | {"merges": ["a b"]}}, "out of"),
        (
            {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////wAAAAA="}},
            "the tokenizers library aborted in a trial",
        ),
        ({"decoder": {"type": "Strip", "content": "a", "start": 1, "stop": 10}}, "out of bounds"),
        ({"model": BPE | {"vocab": {"a": 4_000_000_000}}}, "its largest id is 4,000,000,000, but it has only 1 tokens"),
        (
            {"added_tokens": [{"id": 10**7, "content": "x", "special": True}]},
            "its largest id is 10,000,000, but it has only 4 tokens",
        ),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [replace("a", "aa" * 9), replace("a", "aa" * 9)]}},
            "its normalizer makes texts up to 324 times as long",
        ),
        ({"normalizer": {"type": "Prepend", "prepend": "x" * 10**6}}, "up to 1,000,000 times as long"),
        ({"model": []}, "not the JSON of a tokenizer"),
    ],
)
def test_tokenizers_that_do_not_work_are_refused(parts: dict[str, Any], reason: str, checked: Path) -> None:
    with pytest.raises(InputError, match=rf"^not a valid tokenizer\.json \(.*{reason}"):
        Tokenizer.from_json(text_of(**parts))
    assert not checked.exists()


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    "post_processor",
    [
        {"type": "BertProcessing", "sep": ["x", 2**31], "cls": ["y", 0]},
        {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "x", "type_id": 0}}],
            "special_tokens": {"x": {"id": "x", "ids": [2**31], "tokens": ["x"]}},
        },
    ],
)
def test_ids_that_are_no_tokens_are_not_added_to_texts(post_processor: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"its post_processor adds the id 2147483648 to texts, which is no token"):
        Tokenizer.from_json(text_of(post_processor=post_processor))


@pytest.mark.parametrize("changed", [{"merges": [[{}, "a"]]}, {"merges": [["a", 1]]}, {"unk_token": [1]}])
def test_models_with_values_of_other_types_are_refused(changed: dict[str, Any]) -> None:
    """The other parts are those that this package writes, so the model is compared with its own, too."""
    own = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    with pytest.raises(InputError, match=r"^not a valid tokenizer\.json"):
        check_tokenizer(
            text_of(model=BPE | own | changed, pre_tokenizer=check._PRE_TOKENIZERS[1], decoder={"type": "ByteLevel"})
        )


def test_a_trial_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_SECONDS", 0.01)
    with pytest.raises(InputError, match="a trial took longer than 0 seconds"):
        check_tokenizer(text_of())


def test_a_tokenizer_is_tried_once(checked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of()
    check_tokenizer(text)
    assert len(list(checked.iterdir())) == 1
    monkeypatch.setattr(subprocess, "run", None)
    monkeypatch.setattr(check, "_passed", set())
    check_tokenizer(text)
    with pytest.raises(TypeError):
        check_tokenizer(text_of(version="1.1"))


def test_a_folder_that_is_not_writable_is_no_error(checked: Path) -> None:
    checked.touch()
    check_tokenizer(text_of())


def test_tokenizers_of_this_package_need_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one two three one two three"]
    made = [bytes_tokenizer(), train_characters(texts), train_bpe(texts, 300)]
    monkeypatch.setattr(subprocess, "run", None)
    for tokenizer in made:
        assert Tokenizer.from_json(tokenizer.to_json()).hash == tokenizer.hash


def test_panics_of_the_library_are_input_errors() -> None:
    class PanicException(BaseException):
        pass

    class Inner:
        def encode(self, *_: object, **__: object) -> None:
            raise PanicException("index out of bounds\nat line 1")

    tokenizer = bytes_tokenizer()
    tokenizer._inner = Inner()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"cannot encode this text; use another tokenizer \(index out of bounds at"):
        tokenizer.encode("a")
