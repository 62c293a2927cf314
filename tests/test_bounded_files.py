"""Bounded reading of files that are not what they say."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.bounded_files import is_deeper, parse_json, read_json, read_json_object, read_text
from gpt_lightning.errors import InputError

REMEDY = "Give another file"


def test_values_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": ["ä", 1, null]}', encoding="utf-8")
    assert read_json(file, REMEDY) == read_json_object(file, REMEDY) == {"a": ["ä", 1, None]}
    link = tmp_path / "link.json"
    link.symlink_to(file)
    assert read_text(link, REMEDY) == '{"a": ["ä", 1, null]}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", r": not valid JSON"),
        (b"", r": not valid JSON"),
        (b"[1]", r": not a JSON object"),
        (b"\n\xff", r":2: not UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, r": nested more than 100 levels deep"),
        (b"[" * 101 + b"]" * 101, r": nested more than 100 levels deep"),
        (b'{"a": ' + b"1" * 10_000 + b"}", r": not valid JSON"),
        (b'{"a": ' + b"1" * 301 + b"}", r": not valid JSON \(an integer with 301 digits\)"),
        (b'"' + b"a" * 20_000 + b'"', r": larger than 20,000 bytes"),
    ],
)
def test_damaged_content(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    limit = 20_000 if content.startswith(b'"') else 10**6
    with pytest.raises(InputError, match=rf"^{re.escape(str(file))}{reason}.*\. {REMEDY}$"):
        read_json_object(file, REMEDY, limit)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_other_kinds_of_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path: "a folder, not a file",
        tmp_path / "missing": "no such file",
        tmp_path / "pipe": "not a regular file",
        Path("/dev/zero"): "not a regular file",
        Path("a\0b"): "cannot be read",
        Path("a" * 5000): "cannot be read",
    }
    for path, reason in cases.items():
        with pytest.raises(InputError, match=rf"{reason}.*\. {REMEDY}$"):
            read_text(path, REMEDY)


def test_depth_of_shared_parts() -> None:
    value: Any = []
    for _ in range(60):
        value = [value, value]
    assert not is_deeper(value, 61)
    assert is_deeper(value, 60)
    value = []
    value.append(value)
    assert is_deeper(value, 100)
    assert not is_deeper(1, 0)
    assert parse_json("[" * 100 + "]" * 100, "a", REMEDY)
