"""Writing the toy world: passages about invented people, places, organizations and things.

A text to pretrain on and rows for four tasks (topic, sentiment, names, questions), from one generator, so that what
pretraining reads of the world is what the tasks ask about. Names of people, places and organisations share their
surface ("Mara Venn", "Port Venn", "Mara & Cole"), and a sentiment is spread over many words and their negations: a few
hundred labeled rows do not show them all, the unlabeled text does.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, get_args
from zlib import crc32

from gpt_lightning.toy_world.story import (
    ENTITY_TYPES,
    SENTIMENTS,
    TASTES,
    TOPICS,
    Entity,
    Passage,
    Person,
    Question,
    Telling,
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

VERSION: Final = 1
"""To be raised with every change of what is generated, so that ``write`` replaces what older code wrote."""

Split = Literal["text/train", "text/validation", "text/test", "labelled/train", "labelled/validation", "labelled/test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
DEFAULT_COUNTS: Final[Mapping[Split, int]] = {
    "text/train": 11_000,
    "text/validation": 450,
    "text/test": 450,
    "labelled/train": 400,
    "labelled/validation": 200,
    "labelled/test": 400,
}
"""Passages in each split: 3 MB of text to train on, 120 kB to validate and to test."""

_world = cache(World)


def passages(seed: int, split: Split, count: int) -> Iterator[Passage]:
    """Yield the first ``count`` passages of a split of world ``seed``.

    Each pair of a person and a thing is told in one split only, so no passage is in two.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is none of {', '.join(SPLITS)}")
    world, rng = _world(seed), Random(f"toy world {seed} {split}")
    for _ in range(count):
        topic, sentiment = pick(rng, TOPICS), pick(rng, SENTIMENTS)
        while True:
            person = pick(rng, world.people)
            thing = person.tastes[TASTES[sentiment]][topic]
            if _split_of(person, thing) == split:
                break
        yield Telling(world, rng, person, thing, sentiment).passage()


def _split_of(person: Person, thing: Thing) -> Split:
    """Three quarters of all pairs are for the training text, a twentieth for each other split."""
    return SPLITS[max(0, crc32(f"{person.name} {thing.name}".encode()) % 20 - 14)]


def bio_tags(passage: Passage) -> tuple[list[str], list[str]]:
    """Split the text into words and punctuation marks, and tag them O, B-PER, I-PER, B-LOC, ..."""
    tokens, tags = [], []
    for match in re.finditer(r"\w+|[^\w\s]", passage.text):
        here = match.start()
        entity = next((each for each in passage.entities if each.start <= here < each.end), None)
        tokens.append(match[0])
        tags.append("O" if entity is None else f"{'B' if here == entity.start else 'I'}-{entity.type}")
    return tokens, tags


def write(folder: Path, *, seed: int = 0, counts: Mapping[Split, int] = DEFAULT_COUNTS) -> bool:
    """Write ``text``, ``classification``, ``sentiment``, ``ner`` and ``qa``, in train, validation and test.

    Return False, having done nothing, where ``folder/world.json`` says that the same is there already.
    """
    settings = {"version": VERSION, "seed": seed, "counts": {split: counts[split] for split in SPLITS}}
    done = folder / "world.json"
    if done.exists() and json.loads(done.read_text()) == settings:
        return False
    done.unlink(missing_ok=True)  # an interrupted run must not look like a finished one
    for split in SPLITS:
        kind, stage = split.split("/")
        told = list(passages(seed, split, counts[split]))
        for name, row_of in _ROWS[kind].items():
            rows = ({"id": f"{stage}-{i:05}", **row_of(i, passage)} for i, passage in enumerate(told))
            _replace(folder / name / f"{stage}.jsonl", (json.dumps(row) + "\n" for row in rows))
    _replace(done, [json.dumps(settings, indent=2) + "\n"])
    return True


def _replace(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
    unfinished.replace(path)


def _ner_row(_: int, passage: Passage) -> dict[str, Any]:
    tokens, tags = bio_tags(passage)
    return {"tokens": tokens, "tags": tags}


def _qa_row(number: int, passage: Passage) -> dict[str, Any]:
    """Ask one question about each passage, in every third row one that it does not answer."""
    impossible = number % 3 == 2
    choices = [each for each in passage.questions if (each.answer is None) == impossible]
    asked = choices[number // 3 % len(choices)]
    answers = [] if impossible else [{"text": asked.answer, "answer_start": asked.answer_start}]
    return {
        "context": passage.text,
        "question": asked.question,
        "answers": answers,
        "is_impossible": impossible,
    }


_ROWS: Final[dict[str, dict[str, Callable[[int, Passage], dict[str, Any]]]]] = {
    "text": {"text": lambda _, passage: {"text": passage.text}},
    "labelled": {
        "classification": lambda _, passage: {"text": passage.text, "label": passage.topic},
        "sentiment": lambda _, passage: {"text": passage.text, "label": passage.sentiment},
        "ner": _ner_row,
        "qa": _qa_row,
    },
}
