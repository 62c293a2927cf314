"""Folders and globs: links, compressed files, prose, code and JSON, and the line about what was left out."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow
import pytest

from gpt_lightning.data.sources.find_files import folder_lines, resolve
from gpt_lightning.data.sources.source import read_texts
from gpt_lightning.errors import InputError

LINES = '{"text": "a"}\n{"text": "b"}\n'


def names(source: str, folder: Path) -> list[str]:
    return [str(Path(file).relative_to(folder)) for file in resolve(source, "--data.train")]


def compress(data: bytes, suffix: str) -> bytes:
    if suffix == ".zst":
        return bytes(pyarrow.compress(data, codec="zstd", asbytes=True))
    if suffix == ".bz2":
        return bz2.compress(data)
    return gzip.compress(data) if suffix == ".gz" else lzma.compress(data)


def texts(source: str) -> list[str]:
    return [piece.text for piece in read_texts(source, split="train")]


def test_linked_folders_and_files_are_followed_without_loops(tmp_path: Path) -> None:
    corpus, other = tmp_path / "corpus", tmp_path / "other"
    for folder in (corpus / "deep", other):
        folder.mkdir(parents=True)
    (corpus / "deep" / "a.txt").write_text("a")
    (other / "b.txt").write_text("b")
    (tmp_path / "c.txt").write_text("c")
    (corpus / "0_loop").symlink_to(corpus, target_is_directory=True)
    (corpus / "deep" / "back").symlink_to(corpus / "deep", target_is_directory=True)
    (corpus / "first").symlink_to(other, target_is_directory=True)
    (corpus / "second").symlink_to(other, target_is_directory=True)
    (corpus / "link.txt").symlink_to(tmp_path / "c.txt")
    (corpus / "broken.txt").symlink_to(tmp_path / "absent.txt")
    assert names(str(corpus), corpus) == ["deep/a.txt", "first/b.txt", "link.txt"]
    assert names(str(corpus / "**" / "*.txt"), corpus) == ["deep/a.txt", "first/b.txt", "link.txt"]


def test_json_is_read_if_it_holds_rows(tmp_path: Path) -> None:
    (tmp_path / "part.json.gz").write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "list.json").write_text('[\n {"text": "c"}]')
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model": {"vocab": {}}}')
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "config.json").write_text(json.dumps({"n_layer": 2, "names": ["a"]}, indent=1))
    assert texts(str(tmp_path)) == ["c", "a", "b"]
    assert folder_lines(str(tmp_path)) == [
        f"{tmp_path}: read 2 files (1 .json, 1 .json.gz), left out 3 (3 .json without rows). To read others, name "
        "them, as by a glob"
    ]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_files_are_read_and_cut_ones_are_refused(tmp_path: Path, suffix: str) -> None:
    lines = "".join(f'{{"text": "line {number}"}}\n' for number in range(5000)).encode()
    file = tmp_path / f"a.jsonl{suffix}"
    file.write_bytes(compress(lines, suffix) + compress(b'{"text": "second stream"}\n', suffix))
    assert texts(str(tmp_path)) == [*(f"line {number}" for number in range(5000)), "second stream"]
    file.write_bytes(compress(lines, suffix)[:-20])
    with pytest.raises(InputError, match=rf"a\.jsonl\{suffix}: not a complete \w+ file \("):
        texts(str(file))
    file.write_bytes(b"plain text")
    with pytest.raises(InputError, match=rf"a\.jsonl\{suffix}: not a complete \w+ file \(.*remove \{suffix} from"):
        texts(str(file))


def test_prose_and_code_are_read_from_folders_without_tables(tmp_path: Path) -> None:
    for name in ("a.md", "b.py", "c.js", "d.txt", "photo.png", ".hidden.md", "e.dat"):
        (tmp_path / name).write_text(name)
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / ".git").mkdir()
    assert texts(str(tmp_path)) == ["a.md", "b.py", "c.js", "d.txt"]
    (line,) = folder_lines(str(tmp_path))
    assert "read 4 files (1 .md, 1 .py, 1 .js, 1 .txt), left out 5 (2 hidden, 1 .dat, 1 .png, 1 empty)" in line
    (tmp_path / "rows.jsonl").write_text(LINES)
    assert texts(str(tmp_path)) == ["d.txt", "a", "b"], "a README describes the rows"
    assert "left out 8 (2 hidden, 2 .py, " in folder_lines(str(tmp_path))[0]
    assert texts(str(tmp_path / "*.dat")) == ["e.dat"], "a glob reads any text"


def test_files_are_described_only_in_folders(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert folder_lines([str(tmp_path / "a.txt"), "hub:name", str(tmp_path / "*.txt")]) == []
    assert folder_lines(str(tmp_path)) == [f"{tmp_path}: read 1 file (1 .txt)"]
