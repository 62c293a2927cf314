"""One tokenizer class for all kinds of tokens: text to ids and back."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken, pre_tokenizers

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.config import TokenizerConfig

END_OF_TEXT: Final = "<|endoftext|>"
"""The token between documents, in every tokenizer that is made here."""

_END_OF_TEXT_NAMES: Final = (END_OF_TEXT, "</s>", "<|im_end|>", "<eos>", "<|end_of_text|>")
_WITH_CONFIG: Final = '{"tokenizer_config"'  # how a tokenizer with one begins, in a checkpoint
_BYTE_TOKEN: Final = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_TEXTS_AT_ONCE: Final = 1024


class Tokenizer:
    """Text to ids and back, around a ``tokenizers.Tokenizer`` (which it takes over and adjusts).

    Special tokens are never found inside text: ``<|endoftext|>`` in a document is text like any other. Nothing is
    added to the ids of a text either; who needs ``end_of_text_id`` puts it there.
    """

    def __init__(self, inner: tokenizers.Tokenizer, config: TokenizerConfig = TokenizerConfig()) -> None:
        """Take over ``inner``; a text ends with ``config.eos_token``, or with the first known name of such a token.

        Where it has none, ``END_OF_TEXT`` is added.
        """
        inner.no_truncation()
        inner.no_padding()
        inner.encode_special_tokens = True
        known = [name for name in _END_OF_TEXT_NAMES if inner.token_to_id(name) is not None]
        usual = known[0] if known else END_OF_TEXT
        named = config.eos_token
        end_of_text = usual if named is None or inner.token_to_id(named) is None else named
        # Also when it is in the vocabulary: only a token that is marked as special stays out of user text.
        inner.add_special_tokens([AddedToken(end_of_text, special=True, normalized=False)])
        end_of_text_id = inner.token_to_id(end_of_text)
        assert end_of_text_id is not None
        self._inner = inner
        self.config = config
        self.end_of_text_id: int = end_of_text_id
        self._unusual_end = None if end_of_text == usual else end_of_text
        self.vocab_size: int = max(inner.get_vocab(with_added_tokens=True).values()) + 1

    def __reduce__(self) -> tuple[Callable[[str], "Tokenizer"], tuple[str]]:
        """Pickle as JSON: the inner tokenizer's own pickle forgets that special tokens are text."""
        return Tokenizer.from_json, (self.to_json(),)

    @classmethod
    def from_json(cls, text: str, config: TokenizerConfig = TokenizerConfig()) -> "Tokenizer":
        """Make the tokenizer of ``to_json``, or of any ``tokenizer.json`` and the ``config`` that stands beside it.

        Raises:
            InputError: ``text`` is not a tokenizer.
        """
        try:
            if text.startswith(_WITH_CONFIG):
                both = json.loads(text)
                config, text = TokenizerConfig.of(both["tokenizer_config"]), both["tokenizer"]
            return cls(tokenizers.Tokenizer.from_str(text), config)
        except Exception as error:  # the library raises bare Exceptions
            raise InputError(f"not a tokenizer.json ({one_line(error)})") from error

    def to_json(self) -> str:
        """Return everything there is to this tokenizer: the text of a ``tokenizer.json``, and its ``config`` if any."""
        inner = self._inner.to_str()
        said = self.config.said()
        return json.dumps({"tokenizer_config": said, "tokenizer": inner}) if said else inner

    def save(self, path: Path) -> None:
        """Write a ``tokenizer.json`` (atomically), and its ``config`` beside it."""
        self.config.write_beside(path)
        with atomic_write(path) as file:
            file.write(self._inner.to_str(pretty=True).encode())

    @cached_property
    def hash(self) -> str:
        """The sha256 hex digest of its canonical JSON: equal for tokenizers that make the same ids."""
        state = json.loads(self._inner.to_str())
        if self._unusual_end is not None:
            state["eos_token"] = self._unusual_end
        canonical = json.dumps(state, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def name(self) -> str:
        """A few words for people, such as ``characters (67)`` or ``bpe (4096)``."""
        state = json.loads(self._inner.to_str())
        kind = str(state["model"]["type"]).lower()
        if kind == "bpe" and not state["model"]["merges"]:
            kind = "bytes" if "ByteLevel" in _types(state["decoder"]) else "characters"
        return f"{kind} ({self.vocab_size})"

    def token(self, index: int) -> str:
        """What an id is called in the vocabulary."""
        name = self._inner.id_to_token(index)
        assert name is not None
        return name

    def id_of(self, name: str, otherwise: int) -> int:
        """The id of what is called ``name`` in the vocabulary, or ``otherwise`` if nothing is."""
        index = self._inner.token_to_id(name)
        return otherwise if index is None else index

    @property
    def begin_of_text_id(self) -> int:
        """What texts begin with where a text needs a beginning: the end of the one before, unless it says otherwise."""
        name = self.config.bos_token
        return self.end_of_text_id if name is None else self.id_of(name, self.end_of_text_id)

    def as_published(self) -> tokenizers.Tokenizer:
        """A copy that does with text what the library of its publishers does.

        Names of special tokens are those tokens, as in a chat's template, and ``add_special_tokens`` adds what its
        post-processor says.
        """
        copy = tokenizers.Tokenizer.from_str(self._inner.to_str())
        copy.encode_special_tokens = False
        return copy

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, with nothing added."""
        return self._inner.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text; the work is shared by all cores and leaves the GIL free."""
        return [
            np.fromiter(encoding.ids, dtype=np.int64)
            for part in _parts(texts)
            for encoding in self._inner.encode_batch_fast(part, add_special_tokens=False)
        ]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return of each text its ids (n,) and the characters [start, stop) of each, (n, 2).

        Tokens that share a character (its bytes, in a byte-level vocabulary) overlap. A token may hold the whitespace
        before its word.
        """
        return [
            (
                np.fromiter(encoding.ids, dtype=np.int64),
                np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2),  # (0, 2), not (0,), for an empty text
            )
            for part in _parts(texts)
            for encoding in self._inner.encode_batch(part, add_special_tokens=False)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``, without ends of text; bytes that are not UTF-8 show as U+FFFD."""
        shown = [int(index) for index in ids if index != self.end_of_text_id]
        return self._inner.decode(shown, skip_special_tokens=False)

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield the text of ``ids`` as soon as it is certain: joined, it is ``decode(ids)``.

        A character may take several tokens, and what a token looks like may depend on the one before.
        """
        before: list[int] = []  # the tokens of the last text that was certain
        waiting: list[int] = []  # those since
        for index in ids:
            waiting.append(index)
            text, shown = self.decode(before + waiting), self.decode(before)
            if len(text) > len(shown) and not text.endswith("\ufffd"):
                yield text[len(shown) :]
                before, waiting = waiting, []
        yield self.decode(before + waiting)[len(self.decode(before)) :]

    @cached_property
    def token_bytes(self) -> NDArray[np.int64]:
        """Return (V,): how many UTF-8 bytes of text each id spells.

        The sum over a text's ids is the text's length in bytes, exactly for tokenizers of characters, bytes and
        byte-level BPE. Special tokens (and ids without a token) spell 0, and an unknown token counts as 1, the least
        it can stand for. For other kinds it is the length of the token's own text, ``▁`` being a space.
        """
        state = json.loads(self._inner.to_str())
        decoder, model = _types(state["decoder"]), state["model"]
        added = {token["id"]: token for token in state["added_tokens"]}
        unknown = model.get("unk_token")
        if unknown is None and model.get("unk_id") is not None:
            unknown = model["vocab"][model["unk_id"]][0]
        alphabet = set(pre_tokenizers.ByteLevel.alphabet()) if "ByteLevel" in decoder else None
        sizes = np.zeros(self.vocab_size, dtype=np.int64)
        for token, index in self._inner.get_vocab(with_added_tokens=True).items():
            if token == unknown:
                sizes[index] = 1
            elif index in added:
                sizes[index] = 0 if added[index]["special"] else len(token.encode())
            elif alphabet is not None and alphabet.issuperset(token):
                sizes[index] = len(token)  # each character of the alphabet stands for one byte
            elif "ByteFallback" in decoder and _BYTE_TOKEN.fullmatch(token):
                sizes[index] = 1
            else:
                text = token.replace("▁", " ") if decoder & {"Metaspace", "Replace"} else token
                sizes[index] = len(text.encode())
        return sizes


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in parts: the library's encodings are ten times as large as the ids that are kept of them."""
    return (texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE))


def _types(part: Any) -> set[str]:
    """Return the types of a decoder, of itself and of those in its sequence."""
    if not part:
        return set()
    return {part["type"]}.union(*(_types(inner) for inner in part.get("decoders", [])))


def one_line(error: Exception) -> str:
    """What the library says, on one line."""
    return " ".join(str(error).split())
