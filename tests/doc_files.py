"""The files of a reader: little texts and tables under the names that the documentation uses."""

import csv
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

ROWS: Final = 24
"""Rows of each file."""
_SPLITS: Final = {"": "train", "_held_out": "validation", "_test": "test"}
"""End of a file's name -> split of the toy world."""


def write_files(folder: Path, world: Path, commands: str) -> None:
    """Write the files into ``folder``.

    Args:
        folder: where the page's commands run.
        world: the toy world, whose rows the files hold.
        commands: the page's blocks that run; a published model is made only if they name it.
    """
    text = [row["text"] for row in _rows(world / "text" / "train.jsonl")]
    (folder / "my_texts").mkdir()
    for number in range(2):
        (folder / "my_texts" / f"{number}.txt").write_text("\n".join(text[number::3]), encoding="utf-8")
    for name in ("held_out.txt", "other.txt"):
        (folder / name).write_text("\n".join(text[2::3]), encoding="utf-8")
    for end, split in _SPLITS.items():
        _write_reviews(folder / f"reviews{end}.csv", _rows(world / "sentiment" / f"{split}.jsonl"))
        _write_entities(folder / f"entities{end}.conll", _rows(world / "ner" / f"{split}.jsonl"))
        _write_questions(folder / f"questions{end}.json", _rows(world / "qa" / f"{split}.jsonl"))
    _write_table(folder / "reviews_new.csv", ["review"], [[row] for row in text[:4]])
    if "smollm2" in commands:
        _publish(folder / "smollm2")


def _rows(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, ROWS)]


def _write_table(file: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([names, *rows])


def _write_reviews(file: Path, rows: list[dict[str, Any]]) -> None:
    stars = {"negative": "1", "positive": "5"}
    _write_table(file, ["review", "stars"], [[row["text"], stars[row["label"]]] for row in rows])


def _write_entities(file: Path, rows: list[dict[str, Any]]) -> None:
    sentences = [
        "".join(f"{word}\t{tag}\n" for word, tag in zip(row["tokens"], row["tags"], strict=True)) for row in rows
    ]
    file.write_text("\n".join(sentences), encoding="utf-8")


def _write_questions(file: Path, rows: list[dict[str, Any]]) -> None:
    paragraphs = [
        {"context": row["context"], "qas": [{key: row[key] for key in row.keys() - {"context"}}]} for row in rows
    ]
    file.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]}), encoding="utf-8")


def _publish(folder: Path) -> None:
    """Write a tiny model of SmolLM2's family, as a published one is laid out."""
    from gpt_lightning.tokenizers.build import bytes_tokenizer
    from tests.models.huggingface.families import save_reference

    save_reference(folder, "smollm2", vocab_size=257, max_position_embeddings=512)
    bytes_tokenizer().save(folder / "tokenizer.json")
