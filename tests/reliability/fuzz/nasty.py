"""Nasty values, and random changes of values, texts and bytes."""

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from tests.reliability.fuzz.inputs import ODD_FILES, Content, Odd

VALUES: Final[Sequence[Any]] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    7,
    1 << 31,
    1 << 63,
    -(1 << 64),
    10**30,
    0.0,
    -0.0,
    0.5,
    -1.5,
    1e9,
    1e-300,
    1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "null",
    "true",
    "nan",
    "-1",
    "0",
    "1e9",
    "auto",
    "[]",
    "{}",
    "a: b",
    "*x",
    "~nobody/x",
    "../x",
    "odd/folder",
    "odd/pipe",
    "odd/zero",
    "é\u202ex",
    "\x1b[31mred\x07",
    "\x00",
    "line\nline",
    "\ud800",
    "\U0001f9ff",
    "x" * 5000,
    "%s {0} {{x}} ${HOME}",
    "hub:no/name",
    "os.system",
    "CausalLM",
    [],
    [None],
    [[]],
    [-1],
    [""],
    {},
    {"": None},
    {"x": 1},
    {"class_path": "os.system"},
    {"class_path": None},
]
"""Values for any place in a configuration or a file."""

WORDS: Final = [
    *("null", "-1", "0", "1", "2", "1e9", "nan", ".nan", "inf", "-inf", "9" * 30, "0x10", "1_000", "0.5", "1e-300"),
    *(
        "",
        " ",
        "true",
        "false",
        "auto",
        "cpu",
        "cuda",
        "none",
        "{}",
        "[]",
        "[[]]",
        "{a: 1}",
        "[1, 2",
        "{",
        "a: b",
        "*x",
    ),
    *("~nobody", "~nobody/x", "~", ".", "./", "..", "nowhere", "nowhere/x", "text.txt", "lm.yaml", "model", "logs"),
    *("logs/lm", "logs/lm/version_0", "logs/topics/version_0", "tokenizer.json", "*.txt", "hub:no/name", "http://x/y"),
    *ODD_FILES,
    *("é\u202ex", "\x1b[31mred\x07", "\udcff.txt", "x" * 5000, "-", "--", "-x", "@x", "%s", "$HOME", "a,b", "a=b"),
    *(
        "CausalLM",
        "TextClassification",
        "os.system",
        "torch.nn.Linear",
        "LearningRateMonitor",
        "!!python/none",
        "&a *a",
    ),
    "[" * 3000,
    "{class_path: EarlyStopping, init_args: {monitor: x}}",
]
"""Values for options of the command line."""


def change(rng: Random, value: Any, values: Sequence[Any] = VALUES) -> Any:
    """Return a copy of a nested value with one to three changes in random places."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _change_once(rng, value, values)
    return value


def _change_once(rng: Random, root: Any, values: Sequence[Any]) -> Any:
    places = list(_places(root))
    if not places:
        return copy.deepcopy(rng.choice(values))
    container, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.6:
        container[key] = copy.deepcopy(rng.choice(values))
    elif kind < 0.75:
        del container[key]
    elif kind < 0.9:
        container[key] = _reshape(rng, container[key])
    elif isinstance(container, dict):
        container[rng.choice(("x", "", "class_path", key if isinstance(key, str) else "y", f"{key}s"))] = rng.choice(
            values
        )
    else:
        container.insert(key, copy.deepcopy(container[key]))
    return root


def _reshape(rng: Random, value: Any) -> Any:
    """Return a value that is like another, but of another type or size."""
    shapes: list[Callable[[Any], Any]] = [
        lambda x: [x],
        lambda x: {"x": x},
        str,
        lambda x: [x, x],
        lambda x: x[:1] if isinstance(x, str | list) else x,
        lambda x: -x if isinstance(x, int | float) else [],
        lambda x: x * 1000 if isinstance(x, int | float | str) else x,
        lambda x: x + 1 if isinstance(x, int | float) else None,
        lambda x: deep(x, 100),
    ]
    return rng.choice(shapes)(value)


def deep(value: Any, depth: int) -> Any:
    """Return a value inside ``depth`` lists."""
    for _ in range(depth):
        value = [value]
    return value


def _places(value: Any) -> Any:
    """Yield every (container, key) in a nested value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(pairs):
        yield value, key
        yield from _places(item)


ENCODINGS: Final = ("utf-8-sig", "utf-16", "latin-1", "cp037", "utf-32-le", "utf-7")


def damage(rng: Random, content: bytes) -> Content:
    """Return changed bytes, or another kind of file."""
    kind = rng.randrange(12)
    if kind == 0:
        return rng.choice(list(Odd))
    if kind == 1:
        return content[: rng.randrange(len(content) + 1)]
    if kind == 2:
        text = content.decode(errors="replace")
        return text.encode(rng.choice(ENCODINGS), errors="replace")
    if kind == 3:
        return content.replace(b"\n", rng.choice((b"\r", b"\r\n", b"\x00", b"\n\n", b"\x85", b"\x1e")))
    if kind == 4:
        return rng.choice((b"", b"\n", b"\x00" * 1000, b"[" * 100_000, b"{" * 1000, b"null", b"-", rng.randbytes(500)))
    if kind == 5:
        return content + content
    if kind == 6:
        return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\t", b"%", b"---\n", b"\x1f\x8b")) + content
    return _change_bytes(rng, content)


def _change_bytes(rng: Random, content: bytes) -> bytes:
    """Return bytes with a few of them flipped, removed, repeated or replaced."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 10))):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice((1, 1, 4, 100))
        piece = rng.choice(
            (
                b"",
                rng.randbytes(size),
                b'"',
                b"\t",
                b"}",
                b"[",
                b":",
                b"\xff",
                b"9" * 20,
                bytes(changed[at : at + size]),
            )
        )
        changed[at : at + rng.choice((0, size))] = piece
    return bytes(changed)


def as_json(value: Any) -> bytes:
    """Return a value as JSON; lone surrogates are escaped."""
    return json.dumps(value, default=str).encode()


def changed_json(rng: Random, content: bytes) -> Content:
    """Return a JSON file with changed values, or now and then with changed bytes."""
    return damage(rng, content) if rng.random() < 0.3 else as_json(change(rng, json.loads(content)))
