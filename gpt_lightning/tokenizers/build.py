"""Building tokenizers (characters, bytes, BPE) and loading them from files, folders or the hub."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import tokenizers
from filelock import FileLock
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from gpt_lightning.errors import InputError
from gpt_lightning.status import status
from gpt_lightning.tokenizers.config import TEMPLATE, TokenizerConfig
from gpt_lightning.tokenizers.tokenizer import END_OF_TEXT, Tokenizer, one_line

CHOICES: Final = (
    "characters, bytes, bpe:SIZE (such as bpe:4096), a tokenizer.json, a folder that holds one "
    "(or GPT-2's vocab.json and merges.txt), or hub:NAME"
)

# The unknown token of a character tokenizer is this character itself: then it decodes to what it should show.
_UNKNOWN: Final = "\ufffd"
_GPT2_FILES: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
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
_BPE_SIZES: Final = (257, 1 << 24)
_RECIPE: Final = 1  # raise it when training changes, so that tokenizers of the old recipe are not taken from the cache


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
        raise InputError(f"{path}: cannot be read ({one_line(error)}); check the file") from error


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
            with status("Training the tokenizer"):
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
            f"{key}: cannot load {spec} ({one_line(error)}); check the name and the network, "
            "or download its tokenizer.json and give that file"
        ) from error
    return load_tokenizer(folder, key)


def _from_gpt2(vocabulary: Path, merges: Path) -> Tokenizer:
    try:
        inner = tokenizers.Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(f"{vocabulary}, {merges}: not GPT-2's files ({one_line(error)}); fetch them again") from error
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
