"""One tokenizer class for characters, bytes and BPE, trained here or fetched; each is one ``tokenizer.json``."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
from filelock import FileLock
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from gpt_lightning.data.tokenizer_config import TEMPLATE, TokenizerConfig
from gpt_lightning.errors import InputError
from gpt_lightning.files import whole

END_OF_TEXT: Final = "<|endoftext|>"
"""The token between documents, in every tokenizer that is made here."""

CHOICES: Final = (
    "characters, bytes, bpe:SIZE (such as bpe:4096), a tokenizer.json, a folder that holds one "
    "(or GPT-2's vocab.json and merges.txt), or hub:NAME"
)

_END_OF_TEXT_NAMES: Final = (END_OF_TEXT, "</s>", "<|im_end|>", "<eos>", "<|end_of_text|>")
# The unknown token of a character tokenizer is this character itself: then it decodes to what it should show.
_UNKNOWN: Final = "\ufffd"
_GPT2_FILES: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_WITH_CONFIG: Final = '{"tokenizer_config"'  # how a tokenizer with one begins, in a checkpoint
_BYTE_TOKEN: Final = re.compile(r"<0x[0-9A-Fa-f]{2}>")
# Words keep the blank or mark before them, digits come in threes, line ends stay together: 2-3 % fewer tokens than
# GPT-2's pattern at 4096 ids on English books. "\p" are Unicode classes: L letter, N number. Runs end at 256, which no
# word reaches, because training takes quadratic time on a long run of one character (9 s for 64 Ki).
_WORDS: Final = "|".join(
    [
        r"'(?i:[sdmt]|ll|ve|re)",  # he's
        r"[^\r\n\p{L}\p{N}]?\p{L}{1,256}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]{1,256}[\r\n]{0,256}",
        r"\s{0,256}[\r\n]{1,256}",
        r"\s{1,256}(?!\S)",
        r"\s{1,256}",
    ]
)
_TEXTS_AT_ONCE: Final = 1024
_BPE_SIZES: Final = (257, 1 << 24)
_RECIPE: Final = 1  # raise it when training changes, so that tokenizers of the old recipe are not taken from the cache


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
            raise InputError(f"not a tokenizer.json ({_one_line(error)})") from error

    def to_json(self) -> str:
        """Return everything there is to this tokenizer: the text of a ``tokenizer.json``, and its ``config`` if any."""
        inner = self._inner.to_str()
        said = self.config.said()
        return json.dumps({"tokenizer_config": said, "tokenizer": inner}) if said else inner

    def save(self, path: Path) -> None:
        """Write a ``tokenizer.json`` (atomically), and its ``config`` beside it."""
        self.config.write_beside(path)
        with whole(path) as file:
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


def train_characters(texts: Iterable[str]) -> Tokenizer:
    """Make one id for each character of ``texts``; any other becomes an unknown token, shown as U+FFFD."""
    found: set[str] = set()
    for text in texts:
        found.update(text)
    tokens = [END_OF_TEXT, _UNKNOWN, *sorted(found - {_UNKNOWN})]
    # BPE without merges: four times as fast as a WordLevel model behind a split at every character. Cutting at
    # line ends changes no id and is faster again.
    model = models.BPE({token: index for index, token in enumerate(tokens)}, [], unk_token=_UNKNOWN)
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = pre_tokenizers.Split("\n", "merged_with_previous")
    inner.decoder = decoders.Fuse()
    return Tokenizer(inner)


def bytes_tokenizer() -> Tokenizer:
    """Make 257 ids: one for each byte (its own value), and the end of text."""
    vocabulary = {character: byte for byte, character in enumerate(_byte_characters())}
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return Tokenizer(inner)


def train_bpe(texts: Iterable[str], vocab_size: int, key: str = "--data.tokenizer") -> Tokenizer:
    """Train a byte-level BPE of ``vocab_size`` ids (fewer where ``texts`` have no more pairs to merge).

    ``END_OF_TEXT`` is id 0. The same texts give the same tokenizer.

    Raises:
        InputError: ``vocab_size`` leaves no room for the 256 bytes and the end of text; ``key`` is the option to blame.
    """
    if not _BPE_SIZES[0] <= vocab_size <= _BPE_SIZES[1]:
        raise InputError(
            f"{key}: a byte-level BPE has {_BPE_SIZES[0]} (256 bytes and {END_OF_TEXT}) to {_BPE_SIZES[1]} ids, "
            f"not {vocab_size}; choose another size"
        )
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=sys.stdout.isatty() and sys.stderr.isatty(),
    )
    inner.train_from_iterator(iter(texts), trainer)
    return Tokenizer(inner)


def load_tokenizer(spec: str, key: str = "--data.tokenizer") -> Tokenizer:
    """Load a ``tokenizer.json``, a folder that holds one or GPT-2's two files, or ``hub:NAME``.

    Raises:
        InputError: ``spec`` is none of those, or is damaged; ``key`` is the option to blame.
    """
    if spec.startswith("hub:"):
        return _from_hub(spec, key)
    path = Path(spec).expanduser()
    if path.is_dir():
        for vocabulary, merges in _GPT2_FILES:
            if (path / vocabulary).is_file() and (path / merges).is_file() and not (path / "tokenizer.json").exists():
                return _from_gpt2(path / vocabulary, path / merges)
        path /= "tokenizer.json"
    if not path.is_file():
        raise InputError(f"{key}: {spec!r} is no tokenizer; choose one of {CHOICES}")
    try:
        text = path.read_text(encoding="utf-8")
        return Tokenizer.from_json(text, TokenizerConfig.beside(path))
    except InputError as error:
        raise InputError(f"{path}: {error}; save it again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({_one_line(error)}); check the file") from error


def build_tokenizer(
    spec: str, texts: Callable[[], Iterator[str]], cache_dir: Path, text_fingerprint: Callable[[], str]
) -> Tokenizer:
    """Make or load the tokenizer that ``spec`` names.

    ``characters`` and ``bpe:SIZE`` are trained on ``texts()`` once and kept in ``cache_dir``, under a name made of the
    ``spec`` and ``text_fingerprint()``; the others never look at the text. Processes that want the same one wait for
    the first.

    Raises:
        InputError: an unknown ``spec``, a cache that cannot be written, or whatever ``texts`` raises.
    """
    if spec == "bytes":
        return bytes_tokenizer()
    if spec == "characters":
        return _cached(spec, lambda: train_characters(texts()), cache_dir, text_fingerprint())
    if spec.startswith("bpe:"):
        size = spec.removeprefix("bpe:")
        if not re.fullmatch("[0-9]{1,9}", size):
            raise InputError(f"--data.tokenizer: {spec!r} names no size; write it like bpe:4096")
        return _cached(f"bpe:{int(size)}", lambda: train_bpe(texts(), int(size)), cache_dir, text_fingerprint())
    return load_tokenizer(spec)


def _cached(spec: str, train: Callable[[], Tokenizer], cache_dir: Path, text_fingerprint: str) -> Tokenizer:
    key = hashlib.sha256(json.dumps([_RECIPE, spec, text_fingerprint]).encode()).hexdigest()[:32]
    path = cache_dir / "tokenizers" / f"{key}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            try:
                return Tokenizer.from_json(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, UnicodeDecodeError, InputError):
                pass  # never made, or damaged since
            tokenizer = train()
            tokenizer.save(path)
            return tokenizer
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder with --data.cache_dir"
        ) from error


def _from_hub(spec: str, key: str) -> Tokenizer:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(spec.removeprefix("hub:"), allow_patterns=["tokenizer*.json", TEMPLATE])
    except Exception as error:  # whatever is wrong, name or network, the way out is the same
        raise InputError(
            f"{key}: cannot load {spec} ({_one_line(error)}); check the name and the network, "
            "or download its tokenizer.json and give that file"
        ) from error
    return load_tokenizer(folder, key)


def _from_gpt2(vocabulary: Path, merges: Path) -> Tokenizer:
    try:
        inner = tokenizers.Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(f"{vocabulary}, {merges}: not GPT-2's files ({_one_line(error)}); fetch them again") from error
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return Tokenizer(inner)


def _byte_characters() -> list[str]:
    """Return the character that stands for each byte in byte-level vocabularies.

    Printable Latin-1 stands for itself; the other bytes take the characters from U+0100 on, in order.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _types(part: Any) -> set[str]:
    """Return the types of a decoder, of itself and of those in its sequence."""
    if not part:
        return set()
    return {part["type"]}.union(*(_types(inner) for inner in part.get("decoders", [])))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
