"""Tokenizer files with changed fields, hostile patterns and other models."""

import json
from random import Random
from typing import Any, Final

from tests.reliability.fuzz.inputs import Content, Input
from tests.reliability.fuzz.nasty import as_json, change, damage
from tests.reliability.fuzz.world import World

PATTERNS: Final = [
    "(a+)+$",
    "(.*)*x",
    "(?:a|a)*b",
    "[",
    "(?<=a",
    "",
    ".",
    "\\p{Nothing}",
    "(?i)" + "(a?)" * 30 + "a" * 30,
    "x{1000000}",
    "((x{1000}){1000}){1000}",
    "(?P<n>a)(?P=n)",
    "$",
    "^",
    "\\b",
    "\U0001f9ff",
]
"""Regular expressions that are slow, huge, empty or invalid."""


def _added(token_id: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": True, **flags}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


PARTS: Final[list[dict[str, Any]]] = [
    *({"pre_tokenizer": _split(each)} for each in PATTERNS),
    *({"normalizer": {"type": "Replace", "pattern": {"Regex": each}, "content": "x" * 50}} for each in PATTERNS),
    {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "xx"}},
    {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "o"}, "content": "o" * 99}] * 6,
        }
    },
    {"normalizer": {"type": "Prepend", "prepend": "x" * 10000}},
    {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    {
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 9,
            "vocab": {"a": 0},
        }
    },
    {"model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"a": 0}}},
    {"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", -1.0]], "byte_fallback": True}},
    {"model": {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]]}},
    {"model": {"type": "BPE", "vocab": {"a": 4_000_000_000, "b": 0}, "merges": []}},
    {"model": {"type": "BPE", "vocab": {}, "merges": []}},
    {"model": {"type": "BPE", "vocab": {"a": 0, "b": 0, "c": 0}, "merges": ["a b"]}},
    {"model": {"type": "BPE", "dropout": 1.0, "vocab": {"a": 0}, "merges": [], "unk_token": "zzz"}},
    {"decoder": {"type": "Replace", "pattern": {"String": ""}, "content": "x"}},
    {"decoder": None},
    {"decoder": {"type": "Strip", "content": "x", "start": 1 << 40, "stop": 1 << 40}},
    {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        }
    },
    {"post_processor": {"type": "BertProcessing", "sep": ["x", 1 << 31], "cls": ["y", 5_000_000]}},
    {"truncation": {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0}},
    {"truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5}},
    {
        "padding": {
            "strategy": {"Fixed": 1 << 40},
            "direction": "Right",
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "x",
        }
    },
    {"added_tokens": [_added(1 << 31, "1")]},
    {"added_tokens": [_added(0, "")]},
    {"version": "9.0"},
    {"version": None},
]
"""Fields that replace those of a tokenizer file."""

TEXTS: Final = ["a" * 200, "1 bottle of beer", "", "\x00", "\u202e\u0301", "x " * 3000]


def draw(rng: Random, world: World) -> Input:
    """Return a command that reads a changed tokenizer."""
    path = rng.choice(("tokenizer.json", "model/tokenizer.json", "logs/lm/version_0/tokenizer.json"))
    content = world.read(path)
    reads = [
        ("tokenizer", "show", path, f"--text={rng.choice(TEXTS[:2])}"),
        ("tokenizer", "show", path, f"--text={rng.choice(TEXTS)}"),
        ("fit", "-c", "lm.yaml", "--experiment=new", f"--data.tokenizer={path}"),
        ("fit", "-c", "topics.yaml", "--experiment=new", f"--data.tokenizer={path}"),
        ("fit", "-c", "qa.yaml", "--experiment=new", f"--data.tokenizer={path}"),
        ("fit", "-c", "lm.yaml", "--experiment=new", "--model.init_from=model", "--data.tokenizer=model"),
        (
            "generate",
            "model" if path.startswith("model") else "logs/lm/version_0",
            "--max_new_tokens=3",
            "--prompt=a bottle",
        ),
        ("lm-eval", "model", "--tasks=beer", "--include_path=tasks"),
        ("export", "logs/lm/version_0", "new"),
    ]
    if rng.random() < 0.05:
        return Input(reads[0], is_valid=True)
    return Input(rng.choice(reads), {path: _changed(rng, content)})


def _changed(rng: Random, content: bytes) -> Content:
    kind = rng.random()
    if kind < 0.25:
        return damage(rng, content)
    tokenizer = json.loads(content)
    if kind < 0.65:
        return as_json(tokenizer | rng.choice(PARTS))
    key = rng.choice(list(tokenizer))
    return as_json(tokenizer | {key: change(rng, tokenizer[key])} if kind < 0.85 else change(rng, tokenizer))
