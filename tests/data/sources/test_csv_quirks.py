"""CSV as spreadsheets and other programs write it: delimiters, encodings, line ends, quotes and ragged rows."""

import codecs
import csv
import io
import random
from itertools import product
from pathlib import Path
from typing import Any

import pandas
import pytest

from gpt_lightning.data.sources.formats import ReadOptions, file_rows
from gpt_lightning.data.sources.source import source_lines
from gpt_lightning.errors import InputError

ROWS = [
    ("good, really", "pos"),
    ('he said "fine"', "pos"),
    ("line one\nline two", "neg"),
    ("café – “nice” €", "pos"),
    ("a;b|c", "neg"),
    ("plain", "neg"),
]


def write(path: Path, rows: list[tuple[str, str]] = ROWS, encoding: str = "utf-8", **dialect: Any) -> Path:
    stream = io.StringIO()
    csv.writer(stream, **dialect).writerows([("text", "label"), *rows])
    path.write_bytes(stream.getvalue().encode(encoding))
    return path


def read(path: Path, **options: str) -> list[tuple[str, str]]:
    return [(row.fields["text"], row.fields["label"]) for row in file_rows(path, options=ReadOptions(**options))]


def skim(path: Path, **options: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows that can be read, and the errors of the others."""
    rows, errors = [], []
    for row in file_rows(path, options=ReadOptions(**options)):
        try:
            rows.append(dict(row.fields))
        except InputError as error:
            errors.append(str(error).removeprefix(f"{path}:"))
    return rows, errors


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp1252"])
def test_delimiter_encoding_and_line_ends_are_detected(tmp_path: Path, encoding: str) -> None:
    for delimiter, end in product([",", ";", "\t", "|"], ["\n", "\r\n", "\r"]):
        quoting = (
            csv.QUOTE_ALL if end == "\r" else csv.QUOTE_MINIMAL
        )  # the csv module leaves \n in files with \r unquoted
        path = write(tmp_path / "a.csv", encoding=encoding, delimiter=delimiter, lineterminator=end, quoting=quoting)
        assert read(path) == ROWS
        frame = pandas.read_csv(path, sep=delimiter, encoding=encoding)
        assert list(frame.itertuples(index=False, name=None)) == ROWS


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "привет, мир"),
        ("shift_jis", "こんにちは"),
        ("gb18030", "你好，世界"),
        ("iso-8859-2", "żółć"),
        ("cp037", "é"),
    ],
)
def test_delimiter_and_encoding_can_be_given(tmp_path: Path, encoding: str, text: str) -> None:
    for delimiter in ("^", ":", "tab", "\\t"):
        character = "\t" if "t" in delimiter else delimiter
        path = write(tmp_path / "a.csv", [(text, "pos")], encoding, delimiter=character)
        assert read(path, encoding=encoding, delimiter=delimiter) == [(text, "pos")]


def test_another_alphabet_and_damaged_utf8_are_not_taken_for_cp1252(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("привет, мир", "pos"), ("ok", "neg")], "cp1251")
    rows, errors = skim(path)
    assert rows == [{"text": "ok", "label": "neg"}]
    assert errors[0].startswith("2: not UTF-8 text (byte 13")
    assert "or name its encoding, as in --data.encoding cp1252" in errors[0]
    assert source_lines(str(path), ReadOptions(), "--data.train") == []
    damaged = write(tmp_path / "b.csv")
    damaged.write_bytes(damaged.read_bytes() + b"caf\xe9,pos\r\n")
    rows, errors = skim(damaged)
    assert [(row["text"], row["label"]) for row in rows] == ROWS
    assert [error.partition(" text")[0] for error in errors] == ["9: not UTF-8"]


def test_a_detected_encoding_is_printed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", encoding="cp1252")
    assert source_lines(str(path), ReadOptions(), "--data.train") == [
        f"{path}: not UTF-8, so it is read as cp1252. If letters are wrong, set --data.encoding"
    ]
    assert source_lines(str(path), ReadOptions(encoding="cp1252"), "--data.train") == []
    assert source_lines(str(write(tmp_path / "b.csv")), ReadOptions(), "--data.train") == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_unicode_wins_over_the_given_encoding(tmp_path: Path, encoding: str) -> None:
    assert read(write(tmp_path / "a.csv", encoding=encoding), encoding="cp1252") == ROWS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, r"--data\.encoding=klingon: unknown encoding; use one such as utf-8"),
        ({"encoding": "base64"}, r"--data\.encoding=base64: unknown encoding"),
        ({"delimiter": ""}, r"--data\.delimiter='' must be a single character"),
        ({"delimiter": "::"}, r"--data\.delimiter='::' must be a single character"),
        ({"delimiter": '"'}, r"--data\.delimiter='\"' must be a single character"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReadOptions(**options)


def test_empty_columns_without_a_name_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "spam.csv"
    path.write_text("v1,v2,,,\nham,see you at 0,,,\nham,see you\nspam,so, many, commas,\nspam,win,\n")
    rows, errors = skim(path)
    assert rows == [
        {"v1": "ham", "v2": "see you at 0"},
        {"v1": "ham", "v2": "see you"},
        {"v1": "spam", "v2": "win"},
    ]
    assert errors == [
        "4: 4 fields, but the header has 2; quote fields that contain ',', or choose another delimiter with "
        "--data.delimiter"
    ]


def test_an_index_without_a_name_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    pandas.DataFrame(ROWS, columns=["text", "label"]).to_csv(path)
    assert read(path) == ROWS


def test_rows_after_an_invalid_one_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'text,label\ngood,pos\nwell, it was fine,pos\n"never closed,pos\nshort\n"a \\"b\\"",neg\n'
        'x"y,neg\n"two\nlines",pos\n'
    )
    rows, errors = skim(path)
    assert rows == [
        {"text": "good", "label": "pos"},
        {"text": 'x"y', "label": "neg"},
        {"text": "two\nlines", "label": "pos"},
    ]
    assert [error.partition(" (")[0].partition(";")[0] for error in errors] == [
        "3: 3 fields, but the header has 2",
        "4: not CSV",
        "5: 1 fields, but the header has 2",
        "6: not CSV",
    ]


def test_files_without_errors_equal_those_of_the_csv_module(tmp_path: Path) -> None:
    generator = random.Random(0)
    alphabet = ["a", "é", '"', ",", "\n", "\r\n", ";", " ", "\t", "漢", "''", "\\"]
    for _ in range(20):
        texts = ["".join(generator.choices(alphabet, k=generator.randrange(1, 12))) + "." for _ in range(20)]
        path = write(tmp_path / "a.csv", [(text, "x") for text in texts], delimiter=generator.choice(",;|"))
        assert [text for text, _ in read(path)] == texts


def test_the_message_names_another_delimiter(tmp_path: Path) -> None:
    from gpt_lightning.data.sources.source import row_text

    path = write(tmp_path / "a.csv", [("a b", "pos")], delimiter="^")
    with pytest.raises(InputError, match=r"the columns are 'text\^label'; .* or the character .* --data\.delimiter"):
        row_text(next(iter(file_rows(path))), "text")


def test_text_and_json_lines_in_utf16(tmp_path: Path) -> None:
    for name, text in {"a.txt": "é\n汉", "a.jsonl": '{"text": "é"}\n{"text": "汉"}\n'}.items():
        (tmp_path / name).write_bytes(codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    assert [row.fields["text"] for row in file_rows(tmp_path / "a.txt")] == ["é\n汉"]
    assert [row.fields["text"] for row in file_rows(tmp_path / "a.jsonl")] == ["é", "汉"]
