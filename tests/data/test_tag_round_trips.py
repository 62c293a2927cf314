"""Entities are the same whatever the file format and the tagging scheme of the rows."""

import random
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from gpt_lightning.data.tags import Scheme
from gpt_lightning.data.word_split import split_words
from gpt_lightning.metrics.entity_f1 import entities
from tests.data.drive import batches, write_rows
from tests.data.test_sequence_tagging import module, tags_of
from tests.data.test_tag_schemes import Entity, random_entities, write
from tests.reliability.conftest import many

WORDS = [
    "Zoe\u0308",
    "東",
    "👩‍👩‍👧",
    "Anna",
    "'",
    "#",
    "New\u00a0York",
    "3",
    ".",
    "O",
    "-DOCSTART-x",
    "B-A",
    "\u200b",
    "عربى",
]
SHAPES = ["conll", "columns", "jsonl", "parquet", "numbers", "spans"]


def random_texts(generator: random.Random, words: list[str]) -> list[tuple[list[str], list[Entity]]]:
    sizes = [generator.randint(1, 8) for _ in range(6)]
    texts = [(generator.choices(words, k=size), random_entities(generator, size)) for size in sizes]
    return [*texts, (["a"] * 7, [("A", 0, 1), ("A", 1, 3), ("B-c", 3, 4), ("A", 6, 7)])]


def write_file(folder: Path, shape: str, scheme: str, texts: list[tuple[list[str], list[Entity]]]) -> dict[str, object]:
    """Write the texts and return the arguments of the data module."""
    tags = [write(found, len(words), scheme) for words, found in texts]
    rows: list[dict[str, object]] = [
        {"tokens": words, "tags": each} for (words, _), each in zip(texts, tags, strict=True)
    ]
    if shape in ("conll", "columns"):
        line = "{1}\tx\t{0}\ty\n" if shape == "columns" else "{0}\t{1}\n"
        sentences = (
            "".join(line.format(word, tag) for word, tag in zip(words, each, strict=True))
            for (words, _), each in zip(texts, tags, strict=True)
        )
        (folder / "a.conll").write_text("\n".join(sentences), encoding="utf-8")
        columns = {"conll_columns": (2, 0)} if shape == "columns" else {}
        return {"train": str(folder / "a.conll"), **columns}
    if shape == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "a.parquet")
        return {"train": str(folder / "a.parquet")}
    if shape == "numbers":
        names = sorted({tag for each in tags for tag in each} | {"O", "B-A", "I-A", "B-B-c", "I-B-c"})
        rows = [{**row, "tags": [names.index(tag) for tag in each]} for row, each in zip(rows, tags, strict=True)]
        return {"train": write_rows(folder / "a.jsonl", rows), "labels": names}
    if shape == "spans":
        rows = []
        for words, found in texts:
            text = " ".join(words)
            starts = [sum(len(word) + 1 for word in words[:number]) for number in range(len(words))]
            spans = [
                {"start": starts[first], "end": starts[stop - 1] + len(words[stop - 1]), "label": kind}
                for kind, first, stop in found
            ]
            rows.append({"text": text, "spans": spans})
        return {"train": write_rows(folder / "a.jsonl", rows), "spans_column": "spans"}
    return {"train": write_rows(folder / "a.jsonl", rows)}


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
@pytest.mark.parametrize("shape", SHAPES)
def test_entities_survive_every_format_and_scheme(tmp_path: Path, shape: str, scheme: str) -> None:
    generator = random.Random(0)
    for number in range(many(2, 200)):
        folder = tmp_path / str(number)
        folder.mkdir()
        # Spans need words that are words of the text, too.
        words = [word for word in WORDS if len(split_words(word)) == 1] if shape == "spans" else WORDS
        texts = random_texts(generator, words)
        arguments = write_file(folder, shape, scheme, texts)
        target: Scheme = generator.choice(["BIO", "BIOES"])
        data = module(folder, **arguments, test=arguments["train"], scheme=target)
        found = tags_of(data, batches(data, "test"))
        assert [entities(found[str(row)]) for row in range(len(texts))] == [each for _, each in texts]
        if shape != "numbers":
            assert all(tag[0] in {"BIO": "OBI", "BIOES": "OBIES"}[target] for tags in found.values() for tag in tags)


def test_files_of_a_source_may_have_different_schemes(tmp_path: Path) -> None:
    found = [("A", 0, 2), ("A", 2, 3), ("B-c", 4, 5)]
    for name, scheme in (("a", "IOB1"), ("b", "IOB2"), ("c", "BIOES"), ("d", "BILOU")):
        write_rows(tmp_path / f"{name}.jsonl", [{"tokens": ["x"] * 5, "tags": write(found, 5, scheme)}] * 2)
    data = module(tmp_path, train=str(tmp_path / "*.jsonl"), test=str(tmp_path / "*.jsonl"))
    tags = tags_of(data, batches(data, "test"))
    assert len(tags) == 8
    assert all(entities(each) == found for each in tags.values())
