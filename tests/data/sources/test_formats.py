"""TSV, JSON documents and CoNLL: rows, their locations, and errors."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.data.sources.formats import SUFFIXES, file_rows, supported_formats
from gpt_lightning.errors import InputError

HARD = "emoji 👩‍👩‍👧, 汉字, e\u0301, nbsp \u00a0, \u2028 \x85"


def read(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    """Write ``text`` to ``path``, and return the location (without the path) and the fields of each row."""
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return [(row.where.removeprefix(f"{path}:"), dict(row.fields)) for row in file_rows(path)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("compressed", ["", ".gz"])
def test_tsv_splits_at_tabs_and_keeps_quotes(tmp_path: Path, compressed: str, end: str) -> None:
    lines = ["text\tlabel", 'say "yes\t1', '"quoted"\t', "", f"{HARD}\ta\rb"]
    rows = read(tmp_path / f"a.tsv{compressed}", "\ufeff" + end.join(lines))
    assert rows == [
        ("2", {"text": 'say "yes', "label": "1"}),
        ("3", {"text": '"quoted"', "label": ""}),
        ("5", {"text": HARD, "label": "a\rb"}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("compressed", ["", ".gz"])
def test_csv_takes_the_delimiter_of_its_header(tmp_path: Path, delimiter: str, compressed: str) -> None:
    text = '\ufeff\ntext~"label; or | so"\n"a, b; c|d"~yes\n"two\nlines"~no\n'.replace("~", delimiter)
    assert read(tmp_path / f"a.csv{compressed}", text) == [
        ("3", {"text": "a, b; c|d", "label; or | so": "yes"}),
        ("4", {"text": "two\nlines", "label; or | so": "no"}),
    ]


def test_csv_prefers_the_comma(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "a;b,c\n1,2\n") == [("2", {"a;b": "1", "c": "2"})]
    assert read(tmp_path / "b.csv", "text\na;b\n") == [("2", {"text": "a;b"})]
    assert read(tmp_path / "c.csv", "text,label (pos|neg|other)\nhello 0 there,neg\n") == [
        ("2", {"text": "hello 0 there", "label (pos|neg|other)": "neg"})
    ]


def test_csv_takes_a_delimiter_that_also_splits_the_first_row(tmp_path: Path) -> None:
    text = '"a\n,text";label, if any\n\n"so,\ngood; so, so";yes\n'
    assert read(tmp_path / "a.csv", text) == [("4", {"a\n,text": "so,\ngood; so, so", "label, if any": "yes"})]


def test_csv_names_the_first_row_that_no_delimiter_splits_like_the_header(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv:2: 3 fields, but the header has 2; quote fields that contain ','"):
        read(tmp_path / "a.csv", "text,a|b|c|d\nx,y,z\n")
    with pytest.raises(InputError, match=r"b\.csv:2: 2 fields, but the header has 3; quote fields that contain '\|'"):
        read(tmp_path / "b.csv", "text;a|b|c\nx|y\n")


def test_csv_reports_text_that_is_not_utf8_while_it_looks_for_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\né,no\n".encode() + b"\xff,no\n")
    rows = list(file_rows(tmp_path / "a.csv"))
    assert rows[0].fields == {"text": "é", "label": "no"}
    with pytest.raises(InputError, match=r"a\.csv:3: not UTF-8"):
        dict(rows[1].fields)


RECORDS = [{"text": HARD, "n": 1}, {"text": "b", "list": [1, {"x": None}]}]


@pytest.mark.parametrize(
    "document",
    [
        RECORDS,
        {"data": RECORDS},
        {"version": "v2.0", "data": RECORDS, "other": [1]},
        {"version": 1, "examples": RECORDS},
    ],
)
@pytest.mark.parametrize("compressed", ["", ".gz"])
def test_json_yields_the_objects_of_its_list(tmp_path: Path, document: object, compressed: str) -> None:
    rows = read(tmp_path / f"a.json{compressed}", json.dumps(document, indent=1))
    assert rows == [("row 1", RECORDS[0]), ("row 2", RECORDS[1])]


def test_json_replaces_a_lone_surrogate(tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", r'[{"a": "\ud800 \ud83d\ude00"}]') == [("row 1", {"a": "\ufffd 😀"})]


CONLL = """-DOCSTART- -X- O O

# text = Anna sees
Anna NNP B-NP B-PER
# # NP O
sees  VBZ B-VP O

   \t
a\u00a0b X O O
-DOCSTART- -X- O O
汉 X O S-LOC"""


@pytest.mark.parametrize("suffix", [".conll", ".bio", ".iob", ".iob2", ".conll.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_conll_yields_sentences(tmp_path: Path, suffix: str, end: str, separator: str) -> None:
    if separator == "\t":
        text = "\n".join(line if line.startswith("# t") else "\t".join(line.split(" ")) for line in CONLL.splitlines())
        text = text.replace("\t\t", "\t").replace("\t\t", "\t")
    else:
        text = CONLL
    assert read(tmp_path / f"a{suffix}", text.replace("\n", end)) == [
        ("4", {"tokens": ["Anna", "#", "sees"], "tags": ["B-PER", "O", "O"]}),
        ("9", {"tokens": ["a\u00a0b"], "tags": ["O"]}),
        ("11", {"tokens": ["汉"], "tags": ["S-LOC"]}),
    ]


def test_conll_with_tabs_keeps_spaces_inside_words(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.conll", "New York\tB-LOC\n 1 000 \t O \n")
    assert rows == [("1", {"tokens": ["New York", "1 000"], "tags": ["B-LOC", "O"]})]


def test_conll_without_tags_has_only_tokens(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.conll", "# a comment\nAnna\nsees\n\n#\n")
    assert rows == [("2", {"tokens": ["Anna", "sees"]}), ("5", {"tokens": ["#"]})]


def test_conll_distinguishes_a_tagged_hash_from_a_comment(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.conll", "# comment\n# O\n\n# B-TAG\n# I-TAG\n\n# about B-TAG\n")
    assert [fields for _, fields in rows] == [
        {"tokens": ["#"], "tags": ["O"]},
        {"tokens": ["#", "#"], "tags": ["B-TAG", "I-TAG"]},
    ]


def test_streaming_formats_do_not_read_ahead(tmp_path: Path) -> None:
    for name, text in {"a.tsv": "a\té\n1\t2\n", "a.conll": "Anna\tO\n\n"}.items():
        (tmp_path / name).write_bytes(text.encode() * 1000 + b"\xff\n")
        rows = file_rows(tmp_path / name)
        next(rows)
        with pytest.raises(InputError, match=rf"{name}:2001: not UTF-8"):
            [dict(row.fields) for row in rows]


BAD: dict[str, tuple[str, str, str]] = {
    "csv fields": (
        "a.csv",
        "a;b\n1;2;3\n",
        r"a\.csv:2: 3 fields, but the header has 2; quote fields that contain ';'",
    ),
    "tsv short": ("a.tsv", "a\tb\n\n1\n", r"a\.tsv:3: 1 fields, but the header has 2; .* a field cannot contain a tab"),
    "tsv duplicate": ("a.tsv", "a\ta\n", r"a\.tsv:1: the header has two columns named 'a'; rename one"),
    "json lines": (
        "a.json",
        '[{"a": 1}]\n{"a": 2}\n',
        r"a\.json:2: not JSON \(Extra data at column 1\); .*to \.jsonl if",
    ),
    "json cut": ("a.json", '[{"a":\n"b', r"a\.json:2: not JSON \(Unterminated string .*column 1\)"),
    "json deep": ("a.json", "[" * 100_000, r"a\.json: the JSON cannot be parsed \(maximum recursion"),
    "json number": ("a.json", "7", r"a\.json: a int, not a list of objects"),
    "json no list": (
        "a.json",
        '{"a": 1}',
        r"a\.json: an object with 0 lists \(its keys: 'a'\) and none under \"data\"",
    ),
    "json two": ("a.json", '{"a": [], "b": [], "data": 1}', r"a\.json: an object with 2 lists \(its keys: 'a', 'b',"),
    "json elements": ("a.json", '[{"a": 1}, "b"]', r"a\.json:row 2: a str, not an object; fix or remove this row"),
    "no tag": ("a.conll", "Anna O\n\nsees\n", r"a\.conll:3: the word 'sees' has no tag, but line 1 has one; add"),
    "a tag": (
        "a.conll",
        "# c\nAnna\nsees O\n",
        r"a\.conll:3: the word 'sees' has a tag, but line 2 has none; tag all",
    ),
    "columns": (
        "a.conll",
        "Anna NN O\nsees O\n",
        r"a\.conll:2: 2 columns, but line 1 has 3; give every word the same",
    ),
    "no word": ("a.conll", "Anna\tO\n\tO\n", r"a\.conll:2: the line starts with a tab, so it has no word"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD.values(), ids=BAD.keys())
def test_invalid_files_are_refused_with_the_location(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path / name, text)
    assert "\n" not in str(raised.value)


TEXT = {".txt", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".conll", ".bio", ".iob", ".iob2"}


def test_every_suffix_is_listed_and_read(tmp_path: Path) -> None:
    assert set(SUFFIXES) > TEXT
    for suffix in SUFFIXES:
        assert f"{suffix}," in supported_formats()
        file = tmp_path / f"a{suffix}"
        file.write_text('{"a": [{"text": "b"}]}\n')
        if suffix in TEXT:
            list(file_rows(file))
            continue
        with pytest.raises(InputError, match=rf"a\{suffix}: not a "):  # a binary format
            list(file_rows(file))
