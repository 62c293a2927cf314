"""Documents: separators, pieces that do not depend on blocks, nested columns, and class labels."""

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from gpt_lightning.data.sources.class_labels import ClassName
from gpt_lightning.data.sources.documents import (
    PIECE_CHARACTERS,
    check_separator,
    frequent_separator,
    missing_separator,
    split_documents,
)
from gpt_lightning.data.sources.source import Piece, read_rows, read_texts, row_value
from gpt_lightning.errors import InputError

END = "<|endoftext|>"


def joined(pieces: list[Piece]) -> list[str]:
    documents: list[str] = []
    for piece in pieces:
        if piece.starts_document:
            documents.append("")
        documents[-1] += piece.text
    return documents


@pytest.mark.parametrize("seed", range(5))
def test_documents_do_not_depend_on_blocks(seed: int) -> None:
    generator = random.Random(seed)
    documents = ["".join(generator.choices("ab <|\n", k=generator.choice([1, 50, 70_000, 200_000]))) for _ in range(6)]
    text = f"{END}\n".join(documents)
    size = generator.choice([1000, 4096, 100_000, 1 << 20])
    pieces = list(split_documents([text[start : start + size] for start in range(0, len(text), size)], END))
    assert joined(pieces) == documents
    whole = [piece for document in documents for piece in split_documents([document])]
    assert pieces == whole
    assert max(len(piece.text) for piece in pieces) <= PIECE_CHARACTERS


def test_a_text_file_is_split_at_the_separator(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"one\n{END}\ntwo\r\n{END}\r\n\n{END}three{END}\n")
    pieces = list(read_texts(str(tmp_path / "a.txt"), split="train", document_separator=END))
    where = str(tmp_path / "a.txt")
    assert pieces == [Piece(text, True, where) for text in ("one\n", "two\r\n", "\n", "three")]
    assert check_separator("\\n\\n") == "\n\n"
    with pytest.raises(InputError, match=r"--data\.document_separator='' must have 1 to 1,000"):
        check_separator("")


def test_a_frequent_separator_is_found() -> None:
    stories = [Piece(f"A story.\n{END}\n" * 10, True)]
    assert frequent_separator(stories) == (END, 10)
    assert frequent_separator([Piece(f"The token {END} ends a text. {END}", True)]) is None
    assert frequent_separator([Piece(END + "a" * 60_000, False)] * 20) is not None
    assert frequent_separator([Piece("a" * 60_000, False)] * 20) is None


ROW = {"id": 7, "meta": {"text": "inner", "note": None, "a.b": {"c": "deep"}}}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_nested_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]), path)
    else:
        path.write_text(json.dumps(ROW if suffix == ".jsonl" else [ROW]))
    (row,) = read_rows(str(path), split="train")
    assert row_value(row, "meta.text", "--data.text_column") == "inner"
    assert row_value(row, "meta.a.b.c", "--data.text_column") == "deep"
    with pytest.raises(InputError, match=r"column 'meta\.note' is null"):
        row_value(row, "meta.note", "--data.text_column")
    with pytest.raises(
        InputError, match=r"no column 'meta\.body'; the columns are 'id', 'meta\.text', 'meta\.note', 'meta\.a\.b\.c'"
    ):
        row_value(row, "meta.body", "--data.text_column")
    assert [piece.text for piece in read_texts(str(path), split="train", text_column="meta.text")] == ["inner"]


def test_a_column_with_a_dot_wins(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"meta": {"text": "inner"}, "meta.text": "own"}))
    assert [piece.text for piece in read_texts(str(tmp_path), split="train", text_column="meta.text")] == ["own"]


def test_class_labels_are_read_by_name(tmp_path: Path) -> None:
    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["neg", "pos"]),
            "tags": List(ClassLabel(names=["O", "B-X"])),
        }
    )
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1], "tags": [[0, 1], [], [1]]}
    data = Dataset.from_dict(rows, features=features)
    data.to_parquet(str(tmp_path / "a.parquet"))
    found = [dict(row.fields) for row in read_rows(str(tmp_path), split="train")]
    assert [row["label"] for row in found] == ["pos", "neg", None], "-1 is a missing label"
    assert [row["tags"] for row in found] == [["O", "B-X"], [], ["B-X"]]
    assert isinstance(found[0]["label"], ClassName)
    assert found[0]["label"].number == 1


BAD = {
    "a.jsonl": (
        b'{"text": "a"}\n{"text": "b\n{"text": null}\n{"text": NaN}\n{"text": "\xff"}\n["x"]\n{"n": 1}\n{"text": 7}\n'
        b'{"text": "z"}\n'
    ),
    "a.csv": b'n,text\n1,a\n2,b,c\n3\n"4,"x\n5,\xc3\xa9\xff\n6,z\n',
    "a.tsv": b"n\ttext\n1\ta\n2\n5\t\xc3\xa9\xff\n6\tz\n",
    "a.json": b'[{"text": "a"}, {"text": NaN}, 7, {"text": "z"}]',
}


@pytest.mark.parametrize("name", BAD)
def test_every_kind_of_invalid_row_is_skipped(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    skipped: Counter[str] = Counter()
    pieces = list(read_texts(str(tmp_path / name), split="train", skipped=skipped))
    assert [piece.text for piece in pieces] == ["a", "z"]
    assert skipped.total() == {"a.jsonl": 7, "a.csv": 4, "a.tsv": 2, "a.json": 2}[name]
    with pytest.raises(InputError, match=rf"{name}.* \(--data\.on_bad_row=skip skips invalid rows\)$"):
        list(read_texts(str(tmp_path / name), split="train"))


def test_a_text_file_that_cannot_be_decoded_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a" * 3_000_000 + b"\xff")
    (tmp_path / "b.txt").write_text("b")
    skipped: Counter[str] = Counter()
    assert [piece.text for piece in read_texts(str(tmp_path), split="train", skipped=skipped)] == ["b"]
    assert skipped == {"not UTF-… text (byte …, counted from …: invalid start byte)": 1}


def test_a_source_of_which_all_rows_are_skipped_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": null}\n')
    with pytest.raises(InputError, match=r"every text of .* is empty or invalid \(column … is null\)"):
        list(read_texts(str(tmp_path), split="train", skipped=Counter()))


def test_sentences_with_a_bad_line_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Anna\n\nBert\tB-PER\nsleeps\tO\n\nin\tO\nOslo\n\nnow\tO\n")
    rows = list(read_rows(str(tmp_path), split="train"))
    assert [row.where.rpartition(":")[2] for row in rows] == ["1", "3", "6", "9"]
    for row, message in (
        (rows[0], "1: the word 'Anna' has no tag, but line 3"),
        (rows[2], "7: the word 'Oslo' has no"),
    ):
        with pytest.raises(InputError, match=message):
            dict(row.fields)
    assert [rows[1].fields["tokens"], rows[3].fields["tokens"]] == [["Bert", "sleeps"], ["now"]]


def test_a_separator_that_divides_nothing_is_reported(tmp_path: Path) -> None:
    def missing_in(content: str, separator: str) -> str | None:
        (tmp_path / "a.txt").write_bytes(content.encode())
        return missing_separator(read_texts(str(tmp_path), split="train"), separator)

    windows = "first\r\n\r\nsecond\r\n\r\nthird"
    missing = missing_in(windows, "\n\n")
    assert missing is not None
    assert missing.endswith(r"The lines end with \r\n: set it to '\r\n\r\n'")
    separator = check_separator(r"\r\n\r\n")
    assert missing_in(windows, separator) is None
    found = read_texts(str(tmp_path), split="train", document_separator=separator)
    assert [piece.text for piece in found] == ["first", "second", "third"]
    missing = missing_in("a<eos>b", "<oes>")
    assert missing == "data.document_separator='<oes>' does not occur in the beginning of the text. Check its spelling"
    assert missing_in("a single document\n<eos>\n", "<eos>") is None
    (tmp_path / "b.txt").write_text("c<eos>d")
    assert missing_in("a", "<eos>") is None, "it occurs in another file"
