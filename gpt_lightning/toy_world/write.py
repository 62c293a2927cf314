"""Writer of the toy world: passages about invented people, places, organizations and things.

One generator produces a text for pretraining and labeled rows for seven tasks (topic, sentiment, degree of liking,
entailment, named entities, extractive question answering, and answers and summaries in words). Pretraining therefore
covers the knowledge that the tasks need. Names of people, places and organizations look alike ("Mara Venn", "Port
Venn", "Mara & Cole"), and a sentiment is spread over many words and their negations. A few hundred labeled rows do not
contain all of them, but the unlabeled text does.
"""

import errno
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, get_args
from zlib import crc32

from gpt_lightning.atomic_files import atomic_folder, atomic_write
from gpt_lightning.bounded_files import read_json_object
from gpt_lightning.errors import InputError
from gpt_lightning.output_files import write_error
from gpt_lightning.toy_world import grammar
from gpt_lightning.toy_world.answers import answer_row
from gpt_lightning.toy_world.entailment import statements
from gpt_lightning.toy_world.liking import liking
from gpt_lightning.toy_world.story import (
    ENTITY_TYPES,
    SENTIMENTS,
    TASTES,
    TOPICS,
    Entity,
    Narrator,
    Passage,
    Person,
    Question,
    Thing,
    World,
    pick,
)

__all__ = [
    "DEFAULT_COUNTS",
    "ENTITY_TYPES",
    "SENTIMENTS",
    "SPLITS",
    "TOPICS",
    "Entity",
    "Passage",
    "Question",
    "Split",
    "World",
    "bio_tags",
    "passages",
    "write",
]

MARKER: Final = "world.json"
"""File that records the settings, and that all other files are complete."""
VERSION: Final = 1
"""Version of the generated text. Raise it with every change, so that ``write`` replaces files of older versions."""

Split = Literal["text/train", "text/validation", "text/test", "labeled/train", "labeled/validation", "labeled/test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
DEFAULT_COUNTS: Final[Mapping[Split, int]] = {
    "text/train": 11_000,
    "text/validation": 450,
    "text/test": 450,
    "labeled/train": 400,
    "labeled/validation": 200,
    "labeled/test": 400,
}
"""Passages per split: 3 MB of text for training, and 120 kB each for validation and test."""

_OPINIONS_PER_PASSAGE: Final = 3
"""Premises of ``entailment`` per labeled passage. They have one sentence each, and a small model needs many of them."""

Row = dict[str, Any]
"""Row of a dataset, without its id."""

_world = cache(World)


def passages(seed: int, split: Split, count: int, plans: Sequence[Sequence[str]] = grammar.PLANS) -> Iterator[Passage]:
    """Yield the first ``count`` passages of a split.

    Each pair of a person and a thing belongs to one split, so that no passage is in two splits.

    Args:
        seed: seed of the world.
        split: the split.
        count: number of passages.
        plans: orders of the sentences of a passage.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown; choose one of {', '.join(SPLITS)}")
    world, rng = _world(seed), Random(f"toy world {seed} {_seed_name(split)}")
    for _ in range(count):
        topic, sentiment = pick(rng, TOPICS), pick(rng, SENTIMENTS)
        while True:
            person = pick(rng, world.people)
            thing = person.tastes[TASTES[sentiment]][topic]
            if _split_of(person, thing) == split:
                break
        yield Narrator(world, rng, person, thing, sentiment).passage(plans)


def _seed_name(split: Split) -> str:
    """Return the name of a split in seeds and ``world.json``. Its spelling determines the text and must not change."""
    return split.replace("labeled", "labelled")


def _split_of(person: Person, thing: Thing) -> Split:
    """Return the split of a pair: 15 of 20 pairs belong to the training text, and one to each other split."""
    return SPLITS[max(0, crc32(f"{person.name} {thing.name}".encode()) % 20 - 14)]


def bio_tags(passage: Passage) -> tuple[list[str], list[str]]:
    """Return the words and punctuation marks of a passage, and their tags (O, B-PER, I-PER, B-LOC, ...)."""
    tokens, tags = [], []
    for match in re.finditer(r"\w+|[^\w\s]", passage.text):
        start = match.start()
        entity = next((each for each in passage.entities if each.start <= start < each.end), None)
        tokens.append(match[0])
        tags.append("O" if entity is None else f"{'B' if start == entity.start else 'I'}-{entity.type}")
    return tokens, tags


def write(folder: Path, *, seed: int = 0, counts: Mapping[Split, int] = DEFAULT_COUNTS) -> bool:
    """Write the dataset ``text`` and one for each task, named like its configuration ``toy_world_<name>.yaml``.

    Each has a train, a validation and a test file of JSON Lines. ``world.json`` records the settings.

    Args:
        folder: folder for the datasets.
        seed: seed of the world.
        counts: passages per split.

    Returns:
        True, or False if ``world.json`` shows that the same files exist, which are then not written again.

    Raises:
        InputError: the folder holds other files of the same names, or cannot be written.
        RunError: the disk is full.
    """
    settings = {"version": VERSION, "seed": seed, "counts": {_seed_name(split): counts[split] for split in SPLITS}}
    marker = folder / MARKER
    try:
        if not folder.exists() and _write_folder(folder, settings, counts):
            return True
        known = _settings_in(marker)
        if known == settings and all(path.exists() for path in _paths(folder)):
            return False
        if known is None and (taken := [path for path in _paths(folder) if path.exists()]):
            raise InputError(f"{taken[0]} already exists. Choose another folder, or delete this file")
        _write_lines(marker, ["{}\n"])  # after an interruption, the files must count as incomplete
        _write_files(folder, settings, counts)
    except OSError as error:
        raise write_error(folder, error, "Choose another folder") from error
    return True


def _write_folder(folder: Path, settings: Mapping[str, Any], counts: Mapping[Split, int]) -> bool:
    """Write a new folder, whole or not at all. Return False if another process has written it in the meantime."""
    try:
        with atomic_folder(folder) as unfinished:
            _write_files(unfinished, settings, counts)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _settings_in(marker: Path) -> dict[str, Any] | None:
    """Return the settings in ``world.json``, empty ones of an unfinished world; None if the file is no marker."""
    try:
        settings = read_json_object(marker, "", 1 << 16)
    except InputError:
        return None
    return settings if settings.keys() in ({"version", "seed", "counts"}, set()) else None


def _paths(folder: Path) -> list[Path]:
    """Return the paths of all files of the toy world."""
    files = [folder / name / f"{split.split('/')[1]}.jsonl" for split in SPLITS for name in _ROWS[split.split("/")[0]]]
    return [*files, folder / MARKER]


def _write_files(folder: Path, settings: Mapping[str, Any], counts: Mapping[Split, int]) -> None:
    seed = settings["seed"]
    for split in SPLITS:
        kind, stage = split.split("/")
        split_passages = list(passages(seed, split, counts[split]))
        opinions = passages(seed, split, _OPINIONS_PER_PASSAGE * counts[split], grammar.OPINION_PLANS)
        for name, rows_of in _ROWS[kind].items():
            chosen = opinions if name == "entailment" else split_passages
            rows = (row for i, passage in enumerate(chosen) for row in rows_of(i, passage))
            records = ({"id": f"{stage}-{number:05}", **row} for number, row in enumerate(rows))
            _write_lines(folder / name / f"{stage}.jsonl", (json.dumps(record) + "\n" for record in records))
    _write_lines(folder / MARKER, [json.dumps(settings, indent=2) + "\n"])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file by replacing it in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.writelines(line.encode() for line in lines)


def _ner_rows(_: int, passage: Passage) -> list[Row]:
    tokens, tags = bio_tags(passage)
    return [{"tokens": tokens, "tags": tags}]


def _qa_rows(number: int, passage: Passage) -> list[Row]:
    """Return a row with one question about a passage; every third question has no answer."""
    is_impossible = number % 3 == 2
    choices = [each for each in passage.questions if (each.answer is None) == is_impossible]
    chosen = choices[number // 3 % len(choices)]
    answers = [] if is_impossible else [{"text": chosen.answer, "answer_start": chosen.answer_start}]
    row = {
        "context": passage.text,
        "question": chosen.question,
        "answers": answers,
        "is_impossible": is_impossible,
    }
    return [row]


def _entailment_rows(number: int, passage: Passage) -> list[Row]:
    return [
        {"premise": passage.text, "hypothesis": text, "label": "yes" if follows else "no"}
        for text, follows in statements(number, passage)
    ]


_ROWS: Final[dict[str, dict[str, Callable[[int, Passage], list[Row]]]]] = {
    "text": {"text": lambda _, passage: [{"text": passage.text}]},
    "labeled": {
        "classification": lambda _, passage: [{"text": passage.text, "label": passage.topic}],
        "sentiment": lambda _, passage: [{"text": passage.text, "label": passage.sentiment}],
        "liking": lambda _, passage: [{"text": passage.text, "label": liking(passage)}],
        "entailment": _entailment_rows,
        "ner": _ner_rows,
        "qa": _qa_rows,
        "answers": lambda number, passage: [answer_row(number, passage)],
    },
}
