"""Sources: every file format gives the same texts, and errors name the location."""

import bz2
import csv
import gzip
import json
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from gpt_lightning.data.sources import source as module
from gpt_lightning.data.sources.source import PIECE_CHARACTERS, Piece, Source, fingerprint, read_rows, read_texts
from gpt_lightning.errors import InputError

TEXTS = [
    "plain",
    "  leading and trailing  ",
    "CRLF\r\nand LF\nand CR\rend\r\n",
    'emoji 👩‍👩‍👧 🏳️‍🌈, CJK 汉字かな, combining e\u0301\u0323, tab\t, quote " and comma,',
    "<|endoftext|> is text",
    "line\u2028separator and \x85 and \x0c",
]


def write(path: Path, texts: Sequence[str], column: str = "text") -> Path:
    """Write ``texts`` in the format of the suffix; a .txt file contains them joined."""
    uncompressed = path.with_name(path.name.removesuffix(".gz"))
    if uncompressed.suffix == ".txt":
        uncompressed.write_bytes("".join(texts).encode())
    elif uncompressed.suffix == ".jsonl":
        uncompressed.write_text("".join(json.dumps({"n": i, column: text}) + "\n" for i, text in enumerate(texts)))
    elif uncompressed.suffix == ".csv":
        with uncompressed.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["n", column], *([i, text] for i, text in enumerate(texts))])
    else:
        table = pyarrow.table({"n": list(range(len(texts))), column: list(texts)})
        pyarrow.parquet.write_table(table, uncompressed, row_group_size=2)
    if path != uncompressed:
        path.write_bytes(gzip.compress(uncompressed.read_bytes()))
        uncompressed.unlink()
    return path


def documents(source: Source, **options: Any) -> list[str]:
    """Read a source and return its documents, each joined from its pieces."""
    found: list[str] = []
    for piece in read_texts(source, split="train", **options):
        if piece.starts_document:
            found.append(piece.text)
        else:
            found[-1] += piece.text
    return found


@pytest.mark.parametrize("compressed", ["", ".gz"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".parquet"])
def test_every_file_format_gives_its_texts_exactly(tmp_path: Path, suffix: str, compressed: str) -> None:
    path = write(tmp_path / f"a{suffix}{compressed}", TEXTS)
    expected = ["".join(TEXTS)] if suffix == ".txt" else TEXTS
    assert documents(str(path)) == expected
    assert [row.fields["text"] for row in read_rows(str(path), split="train")] == expected


@pytest.mark.parametrize(
    ("suffix", "places"),
    [(".txt", ["1"]), (".jsonl", ["1", "2"]), (".csv", ["2", "4"]), (".parquet", ["row 1", "row 2"])],
)
def test_rows_have_locations(tmp_path: Path, suffix: str, places: list[str]) -> None:
    path = write(tmp_path / f"a{suffix}", ["two\nlines", "b"])
    assert [row.where for row in read_rows(str(path), split="train")] == [f"{path}:{place}" for place in places]


def test_folders_globs_and_lists_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "deeper").mkdir(parents=True)
    write(tmp_path / "sub" / "deep" / "deeper" / "b.jsonl", ["b1", "b2"])
    write(tmp_path / "sub" / ".hidden" / "x.txt", ["x"])
    write(tmp_path / "c.txt.gz", ["c"])
    write(tmp_path / "a.csv", ["a"])
    (tmp_path / "README.md").write_text("not data")
    assert documents(str(tmp_path)) == ["a", "c", "b1", "b2"]
    assert documents(str(tmp_path / "**" / "*.jsonl")) == ["b1", "b2"]
    assert documents(str(tmp_path / "[ac].*")) == ["a", "c"]
    assert documents([str(tmp_path / "c.txt.gz"), str(tmp_path / "sub")]) == ["c", "b1", "b2"]


def test_an_existing_file_takes_precedence_over_a_glob(tmp_path: Path) -> None:
    assert documents(str(write(tmp_path / "a[1].txt", ["text"]))) == ["text"]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv"])
def test_a_byte_order_mark_is_dropped(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", ["text"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert documents(str(path)) == ["text"]
    assert next(iter(next(read_rows(str(path), split="train")).fields)) in (
        "n",
        "text",
    )  # no column name contains the mark


def test_blank_lines_and_empty_texts_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"text": "a"}\n  \n{"text": ""}\n{"text": "b"}')
    (tmp_path / "b.csv").write_text("text\n\nc\n\n")
    assert documents(str(tmp_path)) == ["a", "b", "c"]
    assert [row.where for row in read_rows(str(tmp_path / "a.jsonl"), split="train")][-1].endswith(":5")


def test_a_lone_surrogate_becomes_a_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(r'{"text": "a\ud800b \ud83d\ude00", "list": ["\udfff"], "\udc00": {"x": "\udbff"}}')
    row = next(read_rows(str(path), split="train"))
    assert row.fields == {"text": "a\ufffdb 😀", "list": ["\ufffd"], "\ufffd": {"x": "\ufffd"}}


def long_text() -> str:
    """Return lines, then words without line ends, then neither, so that each part is split by another rule."""
    lines = "".join(f"line {i} é汉👩\r\n" for i in range(20_000))
    return lines + "word é " * 30_000 + "é汉" * 100_000 + "\nend"


def test_long_documents_are_split_between_words_without_loss(tmp_path: Path) -> None:
    text = long_text()
    write(tmp_path / "a.jsonl", [text, "next"])
    pieces = list(read_texts(str(tmp_path / "a.jsonl"), split="train"))
    assert "".join(piece.text for piece in pieces) == text + "next"
    assert [i for i, piece in enumerate(pieces) if piece.starts_document] == [0, len(pieces) - 1]
    assert max(len(piece.text) for piece in pieces) <= PIECE_CHARACTERS
    assert min(len(piece.text) for piece in pieces[:-2]) >= PIECE_CHARACTERS // 2
    assert pieces[0].text.endswith("\r\n")
    split_at_space = next(i for i, piece in enumerate(pieces) if piece.text.endswith("word é"))
    assert pieces[split_at_space + 1].text.startswith(" word")
    assert any(len(piece.text) == PIECE_CHARACTERS for piece in pieces)


@pytest.mark.parametrize("block", [1000, 4096, 1 << 20])
def test_a_text_file_read_in_blocks_gives_the_same_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("gpt_lightning.data.sources.read_file.BLOCK_BYTES", block)
    text = long_text()
    write(tmp_path / "a.txt", [text])
    write(tmp_path / "a.jsonl", [text])
    pieces = [list(read_texts(str(tmp_path / name), split="train")) for name in ("a.txt", "a.jsonl")]
    assert [piece[:2] for piece in pieces[0]] == [piece[:2] for piece in pieces[1]]
    assert [{piece.where for piece in each} for each in pieces] == [
        {str(tmp_path / "a.txt")},
        {f"{tmp_path / 'a.jsonl'}:1"},
    ]


def test_a_text_file_is_not_read_ahead(tmp_path: Path) -> None:
    """Memory is constant: the first pieces come before an error later in the file is reached."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"word " * 1_000_000 + b"\xff")
    pieces = read_texts(str(path), split="train")
    assert next(pieces) == Piece("word" + " word" * (PIECE_CHARACTERS // 5 - 1), True, str(path))
    with pytest.raises(InputError, match=r"a\.txt:1: not UTF-8 text \(byte 5000000"):
        list(pieces)


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.txt", b"", r"a\.txt: the file is empty \(0 bytes\)"),
    "only a byte order mark": ("a.txt", b"\xef\xbb\xbf", r"a\.txt: the file has no text"),
    "compressed empty file": ("a.txt.gz", gzip.compress(b""), r"a\.txt\.gz: the file has no text"),
    "only blank lines": ("a.jsonl", b"\n\n", r"a\.jsonl: there are no rows; remove it from --data\.train"),
    "only a header": ("a.csv", b"text\n", r"a\.csv: there are no rows"),
    "all texts empty": ("a.jsonl", b'{"text": ""}', r"--data\.train: every text of .*a\.jsonl' is empty"),
    "latin 1": ("a.txt", b"one\ntwo\ncaf\xe9\n", r"a\.txt:3: not UTF-8 text \(byte 11,"),
    "cut character": ("a.txt", "one\né".encode()[:-1], r"a\.txt:2: not UTF-8 text \(byte 4,"),
    "latin 1 jsonl": ("a.jsonl", b'{"text": "a"}\n{"text": "\xe9"}', r"a\.jsonl:2: not UTF-8 text \(byte 24,"),
    "cut utf-16": ("a.txt", "one\ntwo".encode("utf-16")[:-1], r"a\.txt:2: not utf-16 text \(byte 14,"),
    "not gzip": ("a.txt.gz", b"plain", r"a\.txt\.gz: not a complete gzip file .*, or remove \.gz from its name"),
    "bzip2": ("a.jsonl.gz", bz2.compress(b"x"), r"a\.jsonl\.gz: not a complete gzip file"),
    "cut gzip": ("a.txt.gz", gzip.compress(b"text" * 999)[:-9], r"a\.txt\.gz: not a complete gzip file"),
    "cut json": ("a.jsonl", b'{"text": "a"}\n{"text": "b', r"a\.jsonl:2: not JSON \(Unterminated string .*column 10\)"),
    "a list": ("a.jsonl", b'{"text": "a"}\n["b"]\n', r"a\.jsonl:2: a list, not an object"),
    "deep": ("a.jsonl", b'{"text":' + b"[" * 100_000, r"a\.jsonl:1: the JSON cannot be parsed \(maximum recursion"),
    "digits": ("a.jsonl", b'{"text": ' + b"1" * 9999 + b"}", r"a\.jsonl:1: the JSON cannot be parsed \(Exceeds"),
    "no column": ("a.jsonl", b'{"a": 1, "b": 2}', r"a\.jsonl:1: there is no column 'text'; the columns are 'a', 'b'"),
    "no column csv": ("a.csv", b"a,b\n1,2\n", r"a\.csv:2: there is no column 'text'; .* --data\.text_column"),
    "null": (
        "a.jsonl",
        b'{"text": "a"}\n\n{"text": null}',
        r"a\.jsonl:3: column 'text' is null; fix or remove this row",
    ),
    "number": ("a.jsonl", b'{"text": 7}', r"a\.jsonl:1: column 'text' is of type int, not a string"),
    "open quote": ("a.csv", b'text\nok\n"open\nend\n', r"a\.csv:3: not CSV \(unexpected end of data\)"),
    "short row": ("a.csv", b"text,n\na,1\nb\n", r"a\.csv:3: 1 fields, but the header has 2"),
    "duplicate column": ("a.csv", b"text,text\na,b\n", r"a\.csv:1: the header has two columns named 'text'; rename"),
    "not parquet": ("a.parquet", b"PAR1 or not", r"a\.parquet: not a complete Parquet file"),
    "binary": (
        "a.xyz",
        b"text\0",
        r"a\.xyz has an unsupported suffix and is not text; .* \.txt, \.jsonl, .*, \.iob2, each also with \.gz, \.bz2",
    ),
    "binary without suffix": ("a", b"text\0", "has an unsupported suffix and is not text"),
}


@pytest.mark.parametrize(("name", "data", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_invalid_files_are_refused_with_the_location(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        list(read_texts(str(tmp_path / name), split="train"))
    assert "\n" not in str(raised.value)


def damaged_parquet(path: Path) -> None:
    write(path, ["text " * 1000] * 10)
    text = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(1)
    data = bytearray(path.read_bytes())
    data[text.data_page_offset : text.data_page_offset + 40] = bytes(40)
    path.write_bytes(data)


def flipped_parquet(path: Path) -> None:
    table = pyarrow.table({"text": ["a text that is not compressed"]})
    pyarrow.parquet.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"not compressed", b"now compressed"))


def no_column(path: Path) -> None:
    write(path, ["text"], column="body")


def no_rows(path: Path) -> None:
    write(path, [])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged_parquet, r"a\.parquet: not a complete Parquet file \(after row 0"),
        (flipped_parquet, r"a\.parquet: not a complete Parquet file \(after row 0: .*CRC"),
        (no_column, r"a\.parquet:row 1: there is no column 'text'; the columns are 'n', 'body'"),
        (no_rows, r"a\.parquet: there are no rows"),
    ],
)
def test_invalid_parquet_is_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message):
        list(read_texts(str(tmp_path / "a.parquet"), split="train"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent.txt", r"--data\.validation: absent\.txt does not exist \(in /"),
        ("*.txt", r"--data\.validation: no file matches \*\.txt"),
        (".", r"--data\.validation: the folder \. has no file with a supported suffix \(\.txt, "),
        ([], r"--data\.validation: the source is empty"),
        ("", r"--data\.validation: the source is empty"),
        (["absent.txt", ""], r"--data\.validation: the source is empty"),
        ("/dev/null", "is not a regular file"),
    ],
)
def test_missing_sources_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for read in (read_rows, read_texts):
        with pytest.raises(InputError, match=message):
            list(read(source, split="validation"))
    with pytest.raises(InputError, match=message):
        fingerprint(source, split="validation")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt", ["text"])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod has no effect for root
    with pytest.raises(InputError, match=r"a\.txt: cannot be read \(Permission denied\)"):
        list(read_texts(str(path), split="train"))


def test_messages_name_the_given_option() -> None:
    with pytest.raises(InputError, match=r"^--train: absent does not exist"):
        next(read_texts("absent", split="train", key="--train"))
    with pytest.raises(InputError, match=r"^--train: absent does not exist"):
        next(read_rows("absent", split="train", key="--train"))
    with pytest.raises(InputError, match=r"^--train: absent does not exist"):
        fingerprint("absent", split="train", key="--train")


def test_the_fingerprint_changes_with_any_write(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", ["text"])
    first = fingerprint(str(path), split="train")
    assert fingerprint([str(path)], split="validation") == first
    path.write_text("next")
    second = fingerprint(str(path), split="train")
    write(tmp_path / "b.txt", ["text"])
    assert len({first, second, fingerprint(str(tmp_path), split="train")}) == 3


class FakeData:
    """Stand-in for ``datasets.Dataset``."""

    column_names = ("id", "text")
    _fingerprint = "f00"

    def select_columns(self, columns: list[str]) -> list[dict[str, str]]:
        return [dict.fromkeys(columns, text) for text in TEXTS]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace ``datasets``, which needs the network, and return the list of calls to it."""
    calls: list[tuple[Any, ...]] = []

    def load_dataset(name: str, config: str | None, split: str) -> FakeData:
        calls.append((name, config, split))
        if name == "absent":
            raise ConnectionError("Couldn't reach 'absent'\non the Hub")
        return FakeData()

    fake = types.ModuleType("datasets")
    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    module._load_hub.cache_clear()
    return calls


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("hub:name", ("name", None, "validation")),
        ("hub:owner/name@train[:99%]", ("owner/name", None, "train[:99%]")),
        ("hub:owner/name:config-1@test", ("owner/name", "config-1", "test")),
    ],
)
def test_a_hub_dataset_is_loaded_once_and_read(
    hub: list[tuple[Any, ...]], source: str, call: tuple[str, str | None, str]
) -> None:
    fingerprint(source, split="validation")
    assert [piece.text for piece in read_texts(source, split="validation")] == TEXTS
    assert hub == [call]


@pytest.mark.usefixtures("hub")
def test_a_failing_hub_dataset_is_refused_in_one_line() -> None:
    with pytest.raises(
        InputError,
        match=r"--data\.train: cannot load hub:absent \(ConnectionError: Couldn't reach 'absent' on the Hub\); .*local",
    ):
        next(read_rows("hub:absent", split="train"))
