"""Tokenizer class for every kind of vocabulary: encodes text as ids and decodes ids to text."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken, pre_tokenizers

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.check import check_tokenizer, one_line
from gpt_lightning.tokenizers.config import TokenizerConfig
from gpt_lightning.tokenizers.generation_config import save_generation_config, token_ids
from gpt_lightning.tokenizers.pieces import continuation_state
from gpt_lightning.tokenizers.stream import decode_pieces

END_OF_TEXT: Final = "<|endoftext|>"
"""Token between documents in every tokenizer that this package trains."""

_END_OF_TEXT_NAMES: Final = (END_OF_TEXT, "</s>", "<|im_end|>", "<eos>", "<|end_of_text|>")
_CONFIG_PREFIX: Final = '{"tokenizer_config"'  # start of the JSON, in checkpoints, of a tokenizer with a configuration
_BYTE_TOKEN: Final = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_CANNOT_ENCODE: Final = "the tokenizer cannot encode this text; use another tokenizer"
_ENCODE_BATCH_SIZE: Final = 1024


class Tokenizer:
    """Wrapper of a ``tokenizers.Tokenizer`` that encodes text as ids and decodes ids to text.

    Special tokens inside text are ordinary text: ``<|endoftext|>`` in a document is split like any other word. Encoding
    adds no tokens; callers add ``end_of_text_id`` themselves.
    """

    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        config: TokenizerConfig = TokenizerConfig(),
        generation_config: Mapping[str, Any] = {},
    ) -> None:
        """Wrap and modify ``inner``.

        The end-of-text token is ``config.eos_token`` or, if the vocabulary lacks it, the first of the common names that
        the vocabulary has. If it has none, ``END_OF_TEXT`` is added.

        Args:
            inner: tokenizer of the library.
            config: special tokens and chat template.
            generation_config: content of the model's ``generation_config.json``, which may name several end tokens.
        """
        inner.no_truncation()
        inner.no_padding()
        inner.encode_special_tokens = True
        present = [name for name in _END_OF_TEXT_NAMES if inner.token_to_id(name) is not None]
        default = present[0] if present else END_OF_TEXT
        configured = config.eos_token
        end_of_text = default if configured is None or inner.token_to_id(configured) is None else configured
        # This is needed even if the vocabulary has the token: only tokens marked as special stay out of user text.
        if end_of_text not in {token.content for token in inner.get_added_tokens_decoder().values() if token.special}:
            inner.add_special_tokens([AddedToken(end_of_text, special=True, normalized=False)])
        end_of_text_id = inner.token_to_id(end_of_text)
        assert end_of_text_id is not None
        self._inner = inner
        self.config = config
        self.generation_config = generation_config
        self.end_of_text_id: int = end_of_text_id
        self._configured_end_of_text = None if end_of_text == default else end_of_text
        self.vocab_size: int = max(inner.get_vocab(with_added_tokens=True).values()) + 1
        self.end_ids = frozenset([end_of_text_id, *token_ids(generation_config, "eos_token_id")])
        """Ids of the tokens that end a generated text."""

    def __reduce__(self) -> tuple[Callable[[str], "Tokenizer"], tuple[str]]:
        """Pickle as JSON: the library's own pickle loses ``encode_special_tokens``."""
        return Tokenizer.from_json, (self.to_json(),)

    @classmethod
    def from_json(
        cls, text: str, config: TokenizerConfig = TokenizerConfig(), generation_config: Mapping[str, Any] = {}
    ) -> "Tokenizer":
        """Make a tokenizer from JSON.

        Args:
            text: result of ``to_json``, or the contents of a ``tokenizer.json``.
            config: configuration of a ``tokenizer.json``; ``to_json`` includes it.
            generation_config: generation settings of its model; ``to_json`` includes them.

        Raises:
            InputError: ``text`` is not a tokenizer.
        """
        try:
            if text.startswith(_CONFIG_PREFIX):
                parts = json.loads(text)
                config, text = TokenizerConfig.from_dict(parts["tokenizer_config"]), str(parts["tokenizer"])
                generation_config = dict(parts.get("generation_config", {}))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"not a valid tokenizer.json ({one_line(error)})") from None
        check_tokenizer(text)
        with _as_input_error("not a valid tokenizer.json"):
            found = cls(tokenizers.Tokenizer.from_str(text), config, generation_config)
            added = {*found._inner.encode("").ids, *found._inner.encode("", "").ids}
        if unknown := [index for index in added if not found.has_token(index)]:
            raise InputError(
                f"not a valid tokenizer.json (its post_processor adds the id {unknown[0]} to texts, which is no token)"
            )
        return found

    def to_json(self) -> str:
        """Return the complete tokenizer: the text of a ``tokenizer.json``, with its configuration if there is one."""
        inner = self._inner.to_str()
        config, generation_config = self.config.to_dict(), dict(self.generation_config)
        if not (config or generation_config):
            return inner
        return json.dumps({"tokenizer_config": config, "generation_config": generation_config, "tokenizer": inner})

    def state(self) -> dict[str, Any]:
        """Return the content of the ``tokenizer.json``."""
        state: dict[str, Any] = json.loads(self._inner.to_str())
        return state

    def with_special_tokens(
        self, tokens: Sequence[str], config: TokenizerConfig, generation_config: Mapping[str, Any]
    ) -> "Tokenizer":
        """Return a copy with other configurations and with ``tokens`` as special tokens; new ones get the next ids."""
        inner = tokenizers.Tokenizer.from_str(self._inner.to_str())
        inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
        return Tokenizer(inner, config, generation_config)

    def encodes_like(self, other: "Tokenizer") -> bool:
        """Return whether ``encode`` gives the same ids for both; they may add other tokens to published prompts."""
        states = ({**each.state(), "post_processor": None, "end": each.end_of_text_id} for each in (self, other))
        return self.hash == other.hash or next(states) == next(states)

    def save(self, path: Path) -> None:
        """Write a ``tokenizer.json`` and its configuration files atomically."""
        self.config.save(path)
        if self.generation_config and path.name == "tokenizer.json":
            save_generation_config(self.generation_config, path.parent)
        with atomic_write(path) as file:
            file.write(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the content of a ``tokenizer.json``, without the configuration."""
        return self._inner.to_str(pretty=True).encode()

    @cached_property
    def hash(self) -> str:
        """SHA-256 hex digest of the canonical JSON; tokenizers with the same digest give the same ids."""
        state = self.state()
        for token in state["added_tokens"]:
            if token["id"] == self.end_of_text_id:  # these flags change only prompts, not the ids of documents
                token |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        if self._configured_end_of_text is not None:
            state["eos_token"] = self._configured_end_of_text
        canonical = json.dumps(state, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def kind(self) -> str:
        """Kind of the vocabulary, such as ``characters``, ``bytes`` or ``bpe``."""
        state = self.state()
        kind = str(state["model"]["type"]).lower()
        if kind == "bpe" and not state["model"]["merges"]:
            kind = "bytes" if "ByteLevel" in _types(state["decoder"]) else "characters"
        return kind

    @property
    def name(self) -> str:
        """Kind and vocabulary size, such as ``characters (67)`` or ``bpe (4096)``."""
        return f"{self.kind} ({self.vocab_size})"

    def token(self, index: int) -> str:
        """Return the token of an id."""
        token = self._inner.id_to_token(index)
        assert token is not None
        return token

    def has_token(self, index: int) -> bool:
        """Return whether the vocabulary has a token with this id."""
        return index < self.vocab_size and self._inner.id_to_token(index) is not None

    def configured_ids(self, setting: str) -> list[int]:
        """Return the token ids of a setting in ``generation_config``, without ids that the vocabulary lacks.

        Args:
            setting: name of the setting, such as ``bos_token_id``.
        """
        return [index for index in token_ids(self.generation_config, setting) if self.has_token(index)]

    def token_id(self, token: str, default: int) -> int:
        """Return the id of a token, or ``default`` if the vocabulary lacks it."""
        index = self._inner.token_to_id(token)
        return default if index is None else index

    @property
    def unknown_id(self) -> int | None:
        """Id of the token for text outside of the vocabulary; None if there is none."""
        model = self.state()["model"]
        unknown: int | None = model.get("unk_id")
        return self._inner.token_to_id(model["unk_token"]) if model.get("unk_token") else unknown

    @property
    def begin_of_text_id(self) -> int:
        """Id of the token that begins a text: the configured ``bos_token``, otherwise the end-of-text token."""
        token = self.config.bos_token
        return self.end_of_text_id if token is None else self.token_id(token, self.end_of_text_id)

    @cached_property
    def _published(self) -> tokenizers.Tokenizer:
        """Copy that encodes text as transformers does, with special tokens inside text and the post-processor."""
        copy = tokenizers.Tokenizer.from_str(self._inner.to_str())
        copy.encode_special_tokens = False
        return copy

    def encode_published(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the ids that transformers gives for ``text``; special tokens inside the text become their ids.

        Args:
            text: a prompt, or a rendered chat.
            add_special_tokens: whether to add the tokens with which the model was trained, such as the BOS token.
        """
        return self.published_encoding(text, add_special_tokens=add_special_tokens).ids

    def published_encoding(
        self, text: str, pair: str | None = None, *, add_special_tokens: bool = True
    ) -> tokenizers.Encoding:
        """Return the encoding that transformers gives for a text or for a pair of texts."""
        with _as_input_error(_CANNOT_ENCODE):
            return self._published.encode(text, pair, add_special_tokens=add_special_tokens)

    def special_id(self, token: str) -> int | None:
        """Return the id of a special token, or None if ``token`` is not one."""
        added = self._inner.get_added_tokens_decoder().items()
        return next((index for index, each in added if each.special and each.content == token), None)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the special tokens, which are not decoded."""
        added = self._inner.get_added_tokens_decoder().items()
        return frozenset(index for index, token in added if token.special)

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, without added tokens."""
        with _as_input_error(_CANNOT_ENCODE):
            return self._inner.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str], *, are_continuations: bool = False) -> list[NDArray[np.int64]]:
        """Return the ids of each text; the library uses all cores and releases the GIL.

        Args:
            texts: the texts.
            are_continuations: the texts are later pieces of documents, so that no blank is added in front of them.
        """
        inner = self._continuing if are_continuations else self._inner
        with _as_input_error(_CANNOT_ENCODE):
            return [
                np.fromiter(encoding.ids, dtype=np.int64)
                for part in _parts(texts)
                for encoding in inner.encode_batch_fast(part, add_special_tokens=False)
            ]

    @cached_property
    def _continuing(self) -> tokenizers.Tokenizer:
        """Copy that encodes texts that continue a document."""
        state = self.state()
        continuing = continuation_state(state)
        if continuing == state:
            return self._inner
        copy = tokenizers.Tokenizer.from_str(json.dumps(continuing))
        copy.encode_special_tokens = True
        return copy

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return for each text its ids, (n,), and their character ranges [start, stop), (n, 2).

        Ranges overlap if tokens share a character, as the bytes of one character do. A token may include the whitespace
        before its word.
        """
        with _as_input_error(_CANNOT_ENCODE):
            return [
                (
                    np.fromiter(encoding.ids, dtype=np.int64),
                    np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2),  # (0, 2), not (0,), for an empty text
                )
                for part in _parts(texts)
                for encoding in self._inner.encode_batch(part, add_special_tokens=False)
            ]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids`` without special tokens; bytes that are not UTF-8 become U+FFFD."""
        with _as_input_error("the tokenizer cannot decode these ids"):
            return self._inner.decode([int(index) for index in ids], skip_special_tokens=True)

    def decode_stream(self, ids: Iterable[int], context: Sequence[int] = ()) -> Iterator[str]:
        """Yield the text of ``ids`` in pieces, as soon as further ids cannot change them.

        Args:
            ids: token ids, which may come from a model.
            context: ids of the text that they continue. The pieces join to the text that ``ids`` add to its text.
        """
        return decode_pieces(self.decode, ids, context=context, is_open=self._is_open)

    def _is_open(self, index: int) -> bool:
        """Return whether the text up to an id may depend on the next id, whatever that is."""
        return index in self._open_ids or self._inner.id_to_token(index) is None

    @cached_property
    def _open_ids(self) -> frozenset[int]:
        """Ids of the tokens that represent a byte each, such as ``<0x0A>``, and of the tokens that are not decoded."""
        if "ByteFallback" not in _types(self.state()["decoder"]):
            return self.special_ids
        return self.special_ids.union(n for token, n in self._inner.get_vocab().items() if _BYTE_TOKEN.fullmatch(token))

    @cached_property
    def token_bytes(self) -> NDArray[np.int64]:
        """Number of UTF-8 bytes of text per id, (V,).

        For characters, bytes and byte-level BPE, the sum over the ids of a text is exactly the length of the text in
        bytes. For other vocabularies, a token counts the bytes of its own text, with ``▁`` as a space. Special tokens
        and ids without a token count 0. The unknown token counts 1, the least that it can represent.
        """
        state = self.state()
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
                sizes[index] = len(token)  # each character of the alphabet represents one byte
            elif "ByteFallback" in decoder and _BYTE_TOKEN.fullmatch(token):
                sizes[index] = 1
            else:
                text = token.replace("▁", " ") if decoder & {"Metaspace", "Replace"} else token
                sizes[index] = len(text.encode())
        return sizes


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return the texts in parts, which bounds memory: the library's encodings take ten times as much as their ids."""
    return (texts[start : start + _ENCODE_BATCH_SIZE] for start in range(0, len(texts), _ENCODE_BATCH_SIZE))


def _types(part: Any) -> set[str]:
    """Return the type of a decoder and the types of its members, if it is a sequence."""
    if not part:
        return set()
    return {part["type"]}.union(*(_types(inner) for inner in part.get("decoders", [])))


@contextmanager
def _as_input_error(message: str) -> Iterator[None]:
    """Convert exceptions of the tokenizers library, which are bare Exceptions, or panics outside of that class."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{message} ({one_line(error)[:300]})") from None
