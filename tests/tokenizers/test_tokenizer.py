"""Tokenizers: exact round trips, serialization as JSON, bytes per token, training, loading and errors."""

import json
import pickle
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import (
    build_tokenizer,
    bytes_tokenizer,
    load_tokenizer,
    train_bpe,
    train_characters,
)
from gpt_lightning.tokenizers.config import TokenizerConfig
from gpt_lightning.tokenizers.tokenizer import END_OF_TEXT, Tokenizer

TEXTS = [
    "",
    "Hello, world! It's 12345 o'clock.",
    "  leading, trailing and   inner spaces  ",
    "CRLF\r\nLF\nCR\r\n\n\ttab\x00nul",
    "emoji 👩‍👩‍👧 🏳️‍🌈 👍🏽",
    "CJK 汉字かな交じり文 한국어",
    "combining e\u0301 o\u0323\u0302, composed é, ligature ﬁ, sharp ß, dotted İ",
    "<|endoftext|> and </s> <unk> <|im_end|> inside text",
    "space kinds \u00a0\u2003\u200b\u2028\u0085\u3000",
    "\ufeffmark, rtl שלום عربى, \U0010ffff",
]
KINDS = ["characters", "bytes", "bpe"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Return a tokenizer of each kind, trained on TEXTS."""
    if request.param == "characters":
        return train_characters(TEXTS)
    return bytes_tokenizer() if request.param == "bytes" else train_bpe(TEXTS, 300)


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_inverts_encoding(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.end_of_text_id not in ids
    assert all(0 <= index < tokenizer.vocab_size for index in ids)
    assert tokenizer.token_bytes[ids].sum() == len(text.encode())


def test_batched_encoding_equals_single_encoding(tokenizer: Tokenizer) -> None:
    texts = [*TEXTS, "".join(TEXTS) * 50]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.dtype == np.int64
        assert ids.tolist() == tokenizer.encode(text)


def test_json_pickle_and_files_restore_the_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    copies = [
        Tokenizer.from_json(tokenizer.to_json()),
        pickle.loads(pickle.dumps(tokenizer)),  # noqa: S301
        load_tokenizer(str(tmp_path / "tokenizer.json")),
        load_tokenizer(str(tmp_path)),
    ]
    for copy in copies:
        assert (copy.hash, copy.name) == (tokenizer.hash, tokenizer.name)
        assert copy.vocab_size == tokenizer.vocab_size
        assert copy.encode_batch(TEXTS)[7].tolist() == tokenizer.encode(TEXTS[7])
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_the_end_of_text_token_has_no_bytes_and_is_not_decoded(tokenizer: Tokenizer) -> None:
    end = tokenizer.end_of_text_id
    assert tokenizer.decode([end, *tokenizer.encode("a"), end, *tokenizer.encode("b")]) == "ab"
    assert tokenizer.decode(np.array([end])) == ""
    assert tokenizer.token_bytes[end] == 0


def test_names_sizes_and_hashes_differ() -> None:
    made = [train_characters(["aé\n"]), bytes_tokenizer(), train_bpe(TEXTS, 300), train_bpe(TEXTS, 301)]
    assert [each.name for each in made] == ["characters (5)", "bytes (257)", "bpe (300)", "bpe (301)"]
    assert [each.vocab_size for each in made] == [5, 257, 300, 301]
    assert len({each.hash for each in made}) == 4
    assert [each.end_of_text_id for each in made] == [0, 256, 0, 0]


def test_bytes_are_their_own_ids() -> None:
    text = "é\n👍"
    assert bytes_tokenizer().encode(text) == list(text.encode())
    every = bytes(range(256)).decode("latin-1")
    assert bytes_tokenizer().encode(every) == list(every.encode())
    assert bytes_tokenizer().decode([0xC3]) == "\ufffd"


def test_characters_are_sorted_and_unknown_ones_become_the_replacement_character() -> None:
    made = train_characters(["cab", "\u0301e"])
    assert made.encode("abce\u0301") == [2, 3, 4, 5, 6]
    ids = made.encode("aXY\nb")
    assert ids == [2, 1, 1, 1, 3]
    assert made.decode(ids) == "a\ufffd\ufffd\ufffdb"
    assert made.token_bytes.tolist() == [0, 1, 1, 1, 1, 1, 2]


def test_training_is_deterministic_and_ends_without_more_pairs() -> None:
    assert train_bpe(TEXTS, 320).hash == train_bpe(list(TEXTS), 320).hash
    assert train_bpe(["abab"], 1000).vocab_size == 259  # 257 and the merges "ab" and "abab"
    with pytest.raises(InputError, match=r"--data\.tokenizer: a byte-level BPE has 257 .* ids, not 256"):
        train_bpe(TEXTS, 256)


@pytest.mark.parametrize("unit", ["é", " ", "=", " \n"])
def test_long_runs_train_quickly(unit: str) -> None:
    """A run of 64 Ki characters took seconds when it was a single word."""
    text = unit * 65_536
    begin = time.perf_counter()
    made = train_bpe([text], 300)
    assert made.decode(made.encode(text)) == text
    assert time.perf_counter() - begin < 1


def test_truncation_and_padding_of_a_pretrained_tokenizer_are_disabled() -> None:
    inner = tokenizers.Tokenizer.from_str(bytes_tokenizer().to_json())
    inner.enable_truncation(2)
    inner.enable_padding(length=99)
    assert Tokenizer(inner).encode("abc") == [97, 98, 99]


@pytest.mark.parametrize("name", ["</s>", "<|im_end|>", "<eos>", "<|end_of_text|>", None])
def test_the_end_of_text_token_of_a_pretrained_tokenizer_is_found_or_added(name: str | None) -> None:
    inner = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    if name:
        inner.add_special_tokens([AddedToken(name, special=True)])
    made = Tokenizer(inner)
    assert made.vocab_size == 4
    assert made.end_of_text_id == 3
    assert (name or END_OF_TEXT) in made.to_json()


def test_our_end_of_text_token_takes_precedence() -> None:
    inner = tokenizers.Tokenizer(models.WordLevel({"</s>": 0, "<eos>": 1, END_OF_TEXT: 2, "a": 3}, unk_token="a"))
    assert Tokenizer(inner).end_of_text_id == 2


def test_token_bytes_with_metaspace_and_byte_fallback() -> None:
    vocabulary = {"<unk>": 0, "</s>": 1, "<0x0A>": 2, "▁": 3, "a": 4, "▁a": 5, "é": 6, "<0xC3>": 7}
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, [("▁", "a")], unk_token="<unk>", byte_fallback=True))
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens(["<unk>", "</s>"])
    inner.add_tokens(["extraé"])
    made = Tokenizer(inner)
    assert made.token_bytes.tolist() == [1, 0, 1, 1, 1, 2, 2, 1, 7]


def gpt2_files(folder: Path, vocabulary: str = "vocab.json", merges: str = "merges.txt") -> None:
    """Write a small BPE as GPT-2's two files, with the end-of-text token last, as in GPT-2."""
    pairs = [("Ġ", "w"), ("o", "r"), ("h", "e"), ("l", "l"), ("Ġw", "or"), ("Ã", "©"), ("1", "2")]
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs), END_OF_TEXT]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / vocabulary).write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in pairs)]
    (folder / merges).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gpt2_files_give_the_ids_of_transformers(tmp_path: Path) -> None:
    from transformers import GPT2Tokenizer

    gpt2_files(tmp_path)
    ours = load_tokenizer(str(tmp_path))
    reference = GPT2Tokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    texts = [text for text in TEXTS if "<|" not in text]  # transformers parses special tokens inside text
    for text in texts:
        assert ours.encode(text) == reference(text)["input_ids"]
        assert ours.decode(ours.encode(text)) == text
    assert ours.end_of_text_id == reference.eos_token_id
    assert ours.end_of_text_id not in ours.encode(END_OF_TEXT)
    assert ours.decode(ours.encode(END_OF_TEXT)) == END_OF_TEXT


def test_gpt2_files_with_their_original_names_load(tmp_path: Path) -> None:
    gpt2_files(tmp_path / "new")
    gpt2_files(tmp_path / "old", "encoder.json", "vocab.bpe")
    assert load_tokenizer(str(tmp_path / "new")).hash == load_tokenizer(str(tmp_path / "old")).hash


def test_invalid_tokenizer_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--data\.tokenizer: 'bpee' is not a tokenizer; choose one of characters, by"):
        load_tokenizer("bpee")
    with pytest.raises(InputError, match=r"--tokenizer: .* is not a tokenizer"):
        load_tokenizer(str(tmp_path), key="--tokenizer")
    path = tmp_path / "tokenizer.json"
    for damaged in ['{"version": "1.0"', "{}", "[]", ""]:
        path.write_text(damaged)
        with pytest.raises(
            InputError, match=r"tokenizer\.json: not a valid tokenizer\.json \(.*\); save it with the tokenizers"
        ):
            load_tokenizer(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"tokenizer\.json:1: not UTF-8"):
        load_tokenizer(str(path))
    gpt2_files(tmp_path / "gpt2")
    (tmp_path / "gpt2" / "merges.txt").write_text("#version: 0.2\nno pair here\n")
    with pytest.raises(InputError, match=r"vocab\.json, .*merges\.txt: not a valid tokenizer\.json"):
        load_tokenizer(str(tmp_path / "gpt2"))

    def offline(name: str, **_: object) -> None:
        raise OSError(f"no network\nfor {name}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        InputError, match=r"cannot load hub:gpt2 \(no network for gpt2\); .* set --data.tokenizer to that file"
    ):
        load_tokenizer("hub:gpt2")


@pytest.mark.parametrize("spec", ["characters", "bpe:300"])
def test_a_tokenizer_is_trained_once(tmp_path: Path, spec: str) -> None:
    calls = []

    def texts() -> Iterator[str]:
        calls.append(1)
        return iter(TEXTS)

    first = build_tokenizer(spec, texts, tmp_path, lambda: "fingerprint")
    again = build_tokenizer(spec, texts, tmp_path, lambda: "fingerprint")
    assert first.hash == again.hash
    assert len(calls) == 1
    build_tokenizer(spec, texts, tmp_path, lambda: "another text")
    assert len(calls) == 2
    for path in (tmp_path / "tokenizers").glob("*.json"):
        path.write_bytes(path.read_bytes()[:100])
    assert build_tokenizer(spec, texts, tmp_path, lambda: "fingerprint").hash == first.hash
    assert len(calls) == 3


def test_concurrent_builds_train_the_tokenizer_once(tmp_path: Path) -> None:
    calls: list[int] = []
    ready = threading.Barrier(4)

    def texts() -> Iterator[str]:
        calls.append(1)
        yield from TEXTS

    def build() -> None:
        ready.wait()
        build_tokenizer("bpe:300", texts, tmp_path, lambda: "fingerprint")

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bpe:", "'bpe:' has no valid size; write, for example, bpe:4096"),
        ("bpe:4k", "'bpe:4k' has no valid size"),
        ("bpe:100", "a byte-level BPE has 257 .* ids, not 100; choose another size"),
        ("charcters", "'charcters' is not a tokenizer; choose one of characters, bytes, bpe:SIZE"),
    ],
)
def test_unknown_specs_are_refused(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--data.tokenizer: {message}"):
        build_tokenizer(spec, lambda: iter(TEXTS), tmp_path, lambda: "fingerprint")


def test_bytes_and_files_need_no_text(tmp_path: Path) -> None:
    def texts() -> Iterator[str]:
        raise AssertionError("the text was read")

    bytes_tokenizer().save(tmp_path / "tokenizer.json")

    def text_fingerprint() -> str:
        raise AssertionError("the text was fingerprinted")

    made = [build_tokenizer(spec, texts, tmp_path / "cache", text_fingerprint) for spec in ("bytes", str(tmp_path))]
    assert made[0].hash == made[1].hash
    assert not (tmp_path / "cache").exists()


def test_an_unwritable_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*: Not a directory \(ENOTDIR\)\. .*--data\.cache_dir"):
        build_tokenizer("characters", lambda: iter(TEXTS), tmp_path / "file", lambda: "")


def test_errors_while_reading_texts_are_unchanged(tmp_path: Path) -> None:
    def texts() -> Iterator[str]:
        yield "text"
        raise InputError("a.txt:2: wrong")

    for spec in ("bpe:300", "characters"):
        with pytest.raises(InputError, match=r"^a\.txt:2: wrong$"):
            build_tokenizer(spec, texts, tmp_path, lambda: "")
    assert not list(tmp_path.rglob("*.json"))
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("make", [bytes_tokenizer, lambda: train_characters(TEXTS), lambda: train_bpe(TEXTS, 300)])
def test_streamed_pieces_join_to_the_decoded_text(make: Callable[[], Tokenizer]) -> None:
    """This holds for random ids, too, most of which are invalid UTF-8."""
    tokenizer, rng = make(), random.Random(0)
    for text in (*TEXTS, ""):
        assert "".join(tokenizer.decode_stream(tokenizer.encode(text))) == tokenizer.decode(tokenizer.encode(text))
    for _ in range(300):
        ids = rng.choices(range(tokenizer.vocab_size), k=12)
        assert "".join(tokenizer.decode_stream(ids)) == tokenizer.decode(ids)


def test_streamed_pieces_have_complete_characters() -> None:
    assert list(bytes_tokenizer().decode_stream("aé😀".encode())) == ["a", "é", "😀", ""]


# --- the configuration next to a tokenizer.json

TEMPLATE = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"


def with_config(folder: Path, **config: object) -> Path:
    """Write a pretrained tokenizer with two special tokens, either of which could be the end-of-text token."""
    folder.mkdir()
    inner = tokenizers.Tokenizer.from_str(train_bpe(["rain and wind"] * 3, 270).to_json())
    inner.add_special_tokens([tokenizers.AddedToken("<end>", special=True)])
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_the_configuration_sets_the_end_of_text_token_and_the_chat_template(tmp_path: Path) -> None:
    folder = with_config(tmp_path / "model", eos_token={"content": "<end>", "lstrip": False}, chat_template=TEMPLATE)
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.token(tokenizer.end_of_text_id) == "<end>"
    assert tokenizer.encode("<end>") != [tokenizer.end_of_text_id], "inside text it is ordinary text"
    tokenizer.save(tmp_path / "0a.json")
    copies = (Tokenizer.from_json(tokenizer.to_json()), pickle.loads(pickle.dumps(tokenizer)))  # noqa: S301 (ours)
    for copy in (*copies, load_tokenizer(str(tmp_path / "0a.json"))):
        assert copy.config == TokenizerConfig(eos_token="<end>", chat_template=TEMPLATE)
        assert (copy.hash, copy.end_of_text_id) == (tokenizer.hash, tokenizer.end_of_text_id)
    unconfigured = Tokenizer.from_json((folder / "tokenizer.json").read_text())
    assert unconfigured.token(unconfigured.end_of_text_id) == END_OF_TEXT
    assert unconfigured.hash != tokenizer.hash, "the same documents get other ids"


def test_configurations_with_the_same_ids_have_the_same_hash(tmp_path: Path) -> None:
    default = load_tokenizer(str(with_config(tmp_path / "a", eos_token=END_OF_TEXT, chat_template=TEMPLATE)))
    unknown = load_tokenizer(str(with_config(tmp_path / "b", eos_token="<absent>")))
    assert default.hash == unknown.hash == Tokenizer.from_json((tmp_path / "a" / "tokenizer.json").read_text()).hash


def test_a_template_file_takes_precedence(tmp_path: Path) -> None:
    folder = with_config(tmp_path / "model", chat_template=[{"name": "default", "template": "old"}])
    assert load_tokenizer(str(folder)).config.chat_template == "old"
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    assert load_tokenizer(str(folder)).config.chat_template == TEMPLATE


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
@pytest.mark.parametrize("file", ["tokenizer_config.json", "generation_config.json"])
def test_a_damaged_configuration_is_refused(tmp_path: Path, file: str, text: str) -> None:
    folder = with_config(tmp_path / "model")
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=rf"{file}.*\. Download it again"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("value", [None, "5", True, -1, 2.5, [[5]], {"a": 5}])
def test_invalid_end_tokens_are_ignored(tmp_path: Path, value: object) -> None:
    folder = with_config(tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, value]}))
    for tokenizer in (made := load_tokenizer(str(folder)), Tokenizer.from_json(made.to_json())):
        assert tokenizer.end_ids == {tokenizer.end_of_text_id, 5}
