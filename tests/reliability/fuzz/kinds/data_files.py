"""Data files of every format with changed rows and bytes, for each command that reads data."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from tests.reliability.fuzz.inputs import Content, Input
from tests.reliability.fuzz.nasty import VALUES, change, damage
from tests.reliability.fuzz.world import ROWS, RUNS, World

_INIT: Final = {"lm": "pretrain", "topics": "classification", "tags": "ner", "qa": "qa"}


def draw(rng: Random, world: World) -> Input:
    """Return a command that reads a changed data file."""
    name = rng.choice(RUNS)
    is_valid = rng.random() < 0.05
    rows = [{"text": world.read("text.txt").decode()}] if name == "lm" else ROWS[name]
    if not is_valid and rng.random() < 0.1:
        rows = ROWS["pairs"]
    if not is_valid:
        rows = change(rng, rows, [*VALUES, " ".join("word" for _ in range(2000))])
    suffix = rng.choice(("jsonl", "json") if is_valid else tuple(FORMATS))
    content: Content = _format(suffix, rows)
    if not is_valid and rng.random() < 0.5:
        content = damage(rng, content) if isinstance(content, bytes) else content
    elif not is_valid and rng.random() < 0.1 and isinstance(content, bytes):
        suffix, content = f"{suffix}.gz", damage(rng, gzip.compress(content))
    file = f"rows.{suffix}"
    used = f"--data.train={file}", f"--data.validation={file}", f"--data.test={file}"
    commands = [
        ("fit", "-c", f"{name}.yaml", "--experiment=new", *used[: rng.randrange(1, 3)]),
        ("fit", "-c", f"{name}.yaml", "--experiment=new", *used[:2]),
        ("test", "-c", f"{name}.yaml", f"--ckpt_path=logs/{name}/version_0", used[2]),
        ("init", _INIT.get(name, "pretrain"), f"--train={file}"),
        ("evaluate", f"logs/{name}/version_0", f"--test={file}", "--again"),
        ("tokenizer", "train", f"--train={file}", "--output=new.json", "--vocab_size=270"),
        ("inspect", "-c", f"{name}.yaml", *used),
        ("explain", f"logs/{name}/version_0", f"--input={file}", "--limit=2"),
        ("bias", f"logs/{name}/version_0", f"--input={file}"),
        ("bias", "logs/lm/version_0", f"--pairs={file}"),
        ("without", f"logs/{name}/version_0", f"--rows={file}"),
    ]
    return Input(commands[0] if is_valid else rng.choice(commands), {file: content}, is_valid=is_valid)


def _format(suffix: str, rows: Any) -> bytes:
    try:
        return FORMATS[suffix](rows)
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        OverflowError,
        pyarrow.ArrowException,
    ):  # the rows do not fit the format
        return FORMATS["jsonl"](rows)


def jsonl(rows: Any) -> bytes:
    """Return rows as JSON lines."""
    rows = rows if isinstance(rows, list) else [rows]
    return "".join(json.dumps(row, default=str) + "\n" for row in rows).encode()


def _table(delimiter: str) -> Callable[[Any], bytes]:
    def write(rows: Any) -> bytes:
        file = io.StringIO()
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows({key: v if isinstance(v, str) else json.dumps(v) for key, v in row.items()} for row in rows)
        return file.getvalue().encode(errors="surrogatepass")

    return write


def _parquet(rows: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def _conll(rows: Any) -> bytes:
    pairs = ([f"{word}\t{tag}\n" for word, tag in zip(row["tokens"], row["tags"], strict=False)] for row in rows)
    return "\n".join("".join(lines) for lines in pairs).encode(errors="surrogatepass")


def _text(rows: Any) -> bytes:
    return "\n".join(str(row["text"]) for row in rows).encode(errors="surrogatepass")


FORMATS: Final[dict[str, Callable[[Any], bytes]]] = {
    "jsonl": jsonl,
    "json": lambda rows: json.dumps(rows, default=str).encode(),
    "csv": _table(","),
    "tsv": _table("\t"),
    "parquet": _parquet,
    "conll": _conll,
    "txt": _text,
    "weird": _text,
}
"""Suffix -> function that writes rows; one suffix is unsupported."""
