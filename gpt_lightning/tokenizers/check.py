"""Check of a ``tokenizer.json`` before it is loaded: by its content if this package made it, otherwise by a trial.

The tokenizers library trusts its files. A damaged or hostile one can make it panic, abort the process, or take any time
and memory.
"""

import contextlib
import hashlib
import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, Final

import tokenizers

from gpt_lightning.bounded_files import MAX_DEPTH, is_deeper
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home
from gpt_lightning.sandbox.process import command
from gpt_lightning.status import status
from gpt_lightning.tokenizers import probe
from gpt_lightning.tokenizers.split_pattern import SPLIT_PATTERN

CHECKED: Final = "~/.cache/gpt_lightning/checked_tokenizers"
"""Folder with an empty file for each tokenizer that has passed a trial, named after its digest."""
_SECONDS: Final = 60.0
_MAX_GROWTH: Final = 100
"""Limit of the factor by which a normalizer may lengthen a text."""

_BYTE_LEVEL: Final = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
_PRE_TOKENIZERS: Final = (
    {"type": "Split", "pattern": {"String": "\n"}, "behavior": "MergedWithPrevious", "invert": False},
    {**_BYTE_LEVEL, "use_regex": False},
    {**_BYTE_LEVEL, "use_regex": True},
    {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False},
            {**_BYTE_LEVEL, "use_regex": False},
        ],
    },
)
"""Pre-tokenizers of this package and of GPT-2."""
_DECODERS: Final = ("Fuse", "ByteLevel")


_passed: set[str] = set()
"""Digests of the tokenizers that this process has checked."""


def check_tokenizer(text: str) -> None:
    """Refuse the text of a ``tokenizer.json`` that does not work, or not within limits of time and memory.

    Raises:
        InputError: the reason, without the file or a remedy, which callers add.
    """
    digest = hashlib.sha256(f"{tokenizers.__version__} {text}".encode(errors="surrogatepass")).hexdigest()
    marker = expand_home(CHECKED) / digest
    if digest in _passed or marker.exists():
        return
    content = _parse(text)
    _check_sizes(content)
    if not _is_ours(content):
        with status("Checking the tokenizer"):
            _try(text)
        # Without the marker, the next process tries the tokenizer again.
        with contextlib.suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
    _passed.add(digest)


def _parse(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"not valid JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict) or is_deeper(content, MAX_DEPTH):
        raise _invalid("not the JSON of a tokenizer")
    return content


def _invalid(reason: str) -> InputError:
    return InputError(f"not a valid tokenizer.json ({one_line(reason)[:300]})")


def _check_sizes(content: Mapping[str, Any]) -> None:
    """Refuse ids and replacements of a size for which no memory is enough."""
    vocabulary, added = content["model"].get("vocab"), content.get("added_tokens") or []
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    ids += [token.get("id") for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    largest = max((index for index in ids if isinstance(index, int)), default=0)
    if largest > 4 * len(ids) + 1000:
        raise _invalid(f"its largest id is {largest:,}, but it has only {len(ids):,} tokens")
    texts = (part.get(name) for part in _parts(content.get("normalizer")) for name in ("content", "prepend"))
    growth = math.prod(max(1, len(text)) for text in texts if isinstance(text, str))
    if growth > _MAX_GROWTH:
        raise _invalid(f"its normalizer makes texts up to {growth:,} times as long")


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield a JSON object and all objects in it."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(each)


def _is_ours(content: Mapping[str, Any]) -> bool:
    """Return whether a tokenizer has the parts of those that this package trains, or of GPT-2's, and a valid model."""
    model = content["model"]
    known = {"type": "BPE", "dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    return (
        content.get("normalizer") is None
        and content.get("post_processor") is None
        and content.get("truncation") is None
        and content.get("padding") is None
        and content.get("pre_tokenizer") in _PRE_TOKENIZERS
        and isinstance(content.get("decoder"), dict)
        and content["decoder"].get("type") in _DECODERS
        and all(model.get(name) == value for name, value in known.items())
        and not model.get("byte_fallback")
        and _has_valid_merges(model)
    )


def _has_valid_merges(model: Mapping[str, Any]) -> bool:
    """Return whether all tokens of a BPE model and of its merges are in its vocabulary."""
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        return False
    if not all(type(index) is int and index >= 0 for index in vocabulary.values()):
        return False
    unknown = model.get("unk_token")
    if unknown is not None and not (isinstance(unknown, str) and unknown in vocabulary):
        return False
    pairs = [each.split(" ") if isinstance(each, str) else each for each in merges]
    return all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(part, str) for part in pair)
        and all(part in vocabulary for part in (*pair, "".join(pair)))
        for pair in pairs
    )


def _try(text: str) -> None:
    """Use a tokenizer in a process of its own."""
    try:
        done = subprocess.run(
            command(probe.__name__),
            input=text.encode(errors="surrogatepass"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _invalid(f"a trial took longer than {_SECONDS:.0f} seconds") from None
    if done.returncode < 0 or done.returncode not in (0, probe.FAILED):
        raise _invalid("the tokenizers library aborted in a trial, or took too much time or memory")
    if done.returncode == probe.FAILED:
        raise _invalid(done.stdout.decode(errors="replace"))


def one_line(reason: object) -> str:
    """Return a message on one line."""
    return " ".join(str(reason).split())
