"""Training of tokenizers (characters, bytes, BPE), and loading from files, folders or the hub."""

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

from gpt_lightning.bounded_files import read_json_object, read_text
from gpt_lightning.downloads import may_download
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import write_error
from gpt_lightning.paths import expand_home
from gpt_lightning.status import status
from gpt_lightning.tokenizers.check import one_line
from gpt_lightning.tokenizers.config import TEMPLATE_FILE, TokenizerConfig
from gpt_lightning.tokenizers.generation_config import GENERATION_CONFIG, load_generation_config
from gpt_lightning.tokenizers.split_pattern import SPLIT_PATTERN
from gpt_lightning.tokenizers.tokenizer import END_OF_TEXT, Tokenizer

CHOICES: Final = (
    "characters, bytes, bpe:SIZE (such as bpe:4096), a tokenizer.json, a folder with one "
    "(or with GPT-2's vocab.json and merges.txt), or hub:NAME"
)

# The unknown token of a character tokenizer. It is the replacement character itself, so it decodes to that.
_UNKNOWN: Final = "\ufffd"
_GPT2_FILES: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_BPE_SIZES: Final = (257, 1 << 24)  # smallest and largest vocabulary
_RECIPE_VERSION: Final = 1  # raise it when training changes, so that tokenizers in the cache are trained again


def train_characters(texts: Iterable[str]) -> Tokenizer:
    """Make a tokenizer with one id per character of ``texts``; other characters become U+FFFD, the unknown token."""
    characters: set[str] = set()
    for text in texts:
        characters.update(text)
    tokens = [END_OF_TEXT, _UNKNOWN, *sorted(characters - {_UNKNOWN})]
    # BPE without merges is four times as fast as a WordLevel model after a split at every character. The split at
    # line ends changes no id and makes it faster still.
    model = models.BPE({token: index for index, token in enumerate(tokens)}, [], unk_token=_UNKNOWN)
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = pre_tokenizers.Split("\n", "merged_with_previous")
    inner.decoder = decoders.Fuse()
    return Tokenizer(inner)


def bytes_tokenizer() -> Tokenizer:
    """Make a tokenizer with 257 ids: one per byte, equal to its value, and the end-of-text token."""
    vocabulary = {character: byte for byte, character in enumerate(_byte_characters())}
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return Tokenizer(inner)


def train_bpe(texts: Iterable[str], vocab_size: int, key: str = "--data.tokenizer") -> Tokenizer:
    """Train a byte-level BPE tokenizer. The same texts give the same tokenizer.

    Args:
        texts: training texts.
        vocab_size: number of ids; the result has fewer if ``texts`` have no more pairs to merge. Id 0 is
            ``END_OF_TEXT``.
        key: option that sets ``vocab_size``, for messages.

    Raises:
        InputError: ``vocab_size`` is out of range.
    """
    if not _BPE_SIZES[0] <= vocab_size <= _BPE_SIZES[1]:
        raise InputError(
            f"{key}: a byte-level BPE has {_BPE_SIZES[0]} (256 bytes and {END_OF_TEXT}) to {_BPE_SIZES[1]} ids, "
            f"not {vocab_size}; choose another size"
        )
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
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
    """Load a tokenizer from a file, a folder or the hub.

    Args:
        spec: a ``tokenizer.json``, a folder with one or with GPT-2's two files, or ``hub:NAME``.
        key: option that sets ``spec``, for messages.

    Raises:
        InputError: ``spec`` is none of these, cannot be downloaded, or is damaged.
    """
    if spec.startswith("hub:"):
        return _from_hub(spec, key)
    path = expand_home(spec)
    if path.is_dir():
        for vocabulary, merges in _GPT2_FILES:
            if (path / vocabulary).is_file() and (path / merges).is_file() and not (path / "tokenizer.json").exists():
                return _from_gpt2(path / vocabulary, path / merges)
        path /= "tokenizer.json"
    if not path.is_file():
        raise InputError(f"{key}: {spec!r} is not a tokenizer; choose one of {CHOICES}")
    text, config = read_text(path, "Check its permissions, or save it again as UTF-8"), TokenizerConfig.load(path)
    generation_config = load_generation_config(path.parent) if path.name == "tokenizer.json" else {}
    try:
        return Tokenizer.from_json(text, config, generation_config)
    except InputError as error:
        raise InputError(f"{path}: {error}; save it with the tokenizers library, or download it again") from None


def build_tokenizer(
    spec: str, texts: Callable[[], Iterator[str]], cache_dir: Path, text_fingerprint: Callable[[], str]
) -> Tokenizer:
    """Train or load the tokenizer that ``spec`` names.

    ``characters`` and ``bpe:SIZE`` are trained once and cached. Other processes that request the same tokenizer wait
    for the first. All other tokenizers call neither ``texts`` nor ``text_fingerprint``.

    Args:
        spec: one of ``CHOICES``.
        texts: function that returns the training texts.
        cache_dir: folder for trained tokenizers.
        text_fingerprint: function that returns a string which changes with the training texts.

    Raises:
        InputError: ``spec`` is unknown, the cache is not writable, or ``texts`` raises one.
    """
    if spec == "bytes":
        return bytes_tokenizer()
    if spec == "characters":
        return _from_cache(spec, lambda: train_characters(texts()), cache_dir, text_fingerprint())
    if spec.startswith("bpe:"):
        size = spec.removeprefix("bpe:")
        if not re.fullmatch("[0-9]{1,9}", size):
            raise InputError(f"--data.tokenizer: {spec!r} has no valid size; write, for example, bpe:4096")
        return _from_cache(f"bpe:{int(size)}", lambda: train_bpe(texts(), int(size)), cache_dir, text_fingerprint())
    return load_tokenizer(spec)


def _from_cache(spec: str, train: Callable[[], Tokenizer], cache_dir: Path, text_fingerprint: str) -> Tokenizer:
    """Return the cached tokenizer, after training it if it is missing or damaged."""
    key = hashlib.sha256(json.dumps([_RECIPE_VERSION, spec, text_fingerprint]).encode()).hexdigest()[:32]
    path = cache_dir / "tokenizers" / f"{key}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            try:
                return Tokenizer.from_json(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, UnicodeDecodeError, InputError):
                pass  # missing or damaged: train it
            with status("Training the tokenizer"):
                tokenizer = train()
            tokenizer.save(path)
            return tokenizer
    except OSError as error:
        raise write_error(path, error, "Choose another folder with --data.cache_dir=FOLDER") from error


def _from_hub(spec: str, key: str) -> Tokenizer:
    from huggingface_hub import snapshot_download

    patterns = ["tokenizer*.json", TEMPLATE_FILE, GENERATION_CONFIG, "config.json"]
    is_local = not may_download(spec)
    try:
        folder = snapshot_download(spec.removeprefix("hub:"), allow_patterns=patterns, local_files_only=is_local)
    except Exception as error:  # the remedies are the same for a wrong name and for a failing network
        raise InputError(
            f"{key}: cannot load {spec} ({one_line(error)}); check the name and the network, "
            f"or download its tokenizer.json and set {key} to that file"
        ) from error
    return load_tokenizer(folder, key)


def _from_gpt2(vocabulary: Path, merges: Path) -> Tokenizer:
    remedy = "Download it again"
    lines = read_text(merges, remedy).split("\n")
    pairs = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]
    model = {"type": "BPE", "vocab": read_json_object(vocabulary, remedy), "merges": pairs}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    parts = {"version": "1.0", "added_tokens": [], "pre_tokenizer": byte_level, "decoder": byte_level, "model": model}
    try:
        return Tokenizer.from_json(json.dumps(parts))
    except InputError as error:
        raise InputError(f"{vocabulary}, {merges}: {error}; download them again") from None


def _byte_characters() -> list[str]:
    """Return the character that represents each byte in byte-level vocabularies.

    Printable Latin-1 characters represent themselves. The other bytes take the characters from U+0100 on, in order.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
