"""Toy world: fixed text, correct labels, balanced classes, and files that are written completely."""

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.toy_world import grammar
from gpt_lightning.toy_world import write as toy_world
from gpt_lightning.toy_world.answers import answer_row
from gpt_lightning.toy_world.entailment import statements
from gpt_lightning.toy_world.liking import liking
from gpt_lightning.toy_world.write import (
    DEFAULT_COUNTS,
    ENTITY_TYPES,
    SENTIMENTS,
    SPLITS,
    TOPICS,
    Passage,
    Split,
    World,
    bio_tags,
    passages,
    write,
)

COUNTS: dict[Split, int] = dict.fromkeys(SPLITS, 12)


@cache
def passages_of(split: Split) -> list[Passage]:
    return list(passages(0, split, 2000 if split == "labeled/train" else 800))


def digest() -> str:
    rows = [asdict(passage) for split in SPLITS for passage in passages(0, split, 100)]
    for row in rows:
        del row["summary"], row["facts"]  # they were added later, without a change of the text
    return sha256(json.dumps(rows).encode()).hexdigest()


def test_golden_passages() -> None:
    """The digest is fixed: raise ``VERSION`` with every change of the generated text, and store the new digest."""
    assert digest() == "c4f24a02d73063a0026f809e21db9f4304bc0febd683de9cdc5f2fb90c684010"


def test_the_text_does_not_depend_on_the_hash_seed() -> None:
    """The other process has another order of sets of strings."""
    printed = subprocess.run(
        [sys.executable, "-c", "from tests.toy_world.test_toy_world import digest; print(digest())"],
        env={**os.environ, "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert printed.strip() == digest()


def test_another_seed_gives_another_world() -> None:
    assert next(passages(0, "text/train", 1)).text != next(passages(1, "text/train", 1)).text
    assert {person.name for person in World(0).people} != {person.name for person in World(1).people}


def test_fewer_passages_are_the_first_ones() -> None:
    assert list(passages(0, "text/test", 5)) == passages_of("text/test")[:5]


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split='dev' is unknown; choose one of text/train"):
        next(passages(0, "dev", 1))  # type: ignore[arg-type]


def test_no_text_is_in_two_splits() -> None:
    texts = [text for split in SPLITS for text in {passage.text for passage in passages_of(split)}]
    assert len(texts) == len(set(texts))


def test_few_texts_are_duplicates() -> None:
    for split in SPLITS:
        assert len({passage.text for passage in passages_of(split)}) > 0.99 * len(passages_of(split))


def test_entities_are_the_names_of_the_world() -> None:
    world = World(0)
    names = {
        "PER": {name for person in world.people for name in (person.name, person.first, person.last)},
        "LOC": set(world.places),
        "ORG": {organization.name for organization in world.organizations},
    }
    assert set(ENTITY_TYPES) == set(names)
    for passage in passages_of("labeled/train"):
        for entity in passage.entities:
            assert passage.text[entity.start : entity.end] in names[entity.type]
        assert all(left.end < right.start for left, right in pairwise(passage.entities))


def test_every_surname_is_in_an_entity() -> None:
    surnames = {person.last for person in World(0).people}
    for passage in passages_of("labeled/train"):
        covered = {i for entity in passage.entities for i in range(entity.start, entity.end)}
        for match in re.finditer(r"\w+", passage.text):
            assert match[0] not in surnames or match.start() in covered, passage.text


def test_entity_types_share_words() -> None:
    words: dict[str, set[str]] = {entity_type: set() for entity_type in ENTITY_TYPES}
    for passage in passages_of("labeled/train"):
        for entity in passage.entities:
            words[entity.type].update(passage.text[entity.start : entity.end].split())
    assert len(words["PER"] & words["LOC"]) > 30
    assert len(words["PER"] & words["ORG"]) > 60
    assert len(words["LOC"] & words["ORG"]) > 30


def test_answers_are_at_their_positions() -> None:
    for passage in passages_of("labeled/train"):
        for question in passage.questions:
            assert (question.answer is None) == (question.answer_start is None)
            if question.answer is not None:
                assert passage.text[question.answer_start :][: len(question.answer)] == question.answer


def parse(question: str) -> tuple[str, int, str]:
    """Return the relation of a question, the given side (0: subject, 1: object) and the given name."""
    wordings = [
        (relation, side, re.escape(wording).replace(r"\{\}", "([A-Z].*|[a-z]+ [a-z]+)"))
        for relation, sides in grammar.QUESTIONS.items()
        for side, choices in enumerate(sides)
        for wording in choices
    ]
    for relation, side, pattern in sorted(wordings, key=lambda each: -len(each[2])):
        if found := re.fullmatch(pattern, question):
            return relation, side, found[1]
    raise AssertionError(f"{question} has an unknown wording")


def test_answers_are_correct_and_unanswerable_facts_are_absent() -> None:
    world = World(0)
    people = {person.name: person for person in world.people}
    seats = {organization.name: organization.seat for organization in world.organizations}
    for passage in passages_of("labeled/train")[:1000]:
        for question in passage.questions:
            relation, side, given = parse(question.question)
            if question.answer is None:
                facts = people[given].facts(relation)
                assert given not in passage.text or not any(fact in passage.text for fact in facts), passage
            else:
                subject, obj = (given, question.answer) if side == 0 else (question.answer, given)
                assert obj in ([seats[subject]] if relation == "seat" else people[subject].facts(relation)), question


def test_summaries_are_true_and_name_what_the_passage_names() -> None:
    world = World(0)
    people = {person.name: person for person in world.people}
    for passage in passages_of("labeled/train"):
        name, relation, thing = re.fullmatch(r"(\S+ \S+) (likes|dislikes) the (.*)\.", passage.summary).groups()  # type: ignore[union-attr]
        assert thing == people[name].tastes[relation][passage.topic].name
        assert relation == {"positive": "likes", "negative": "dislikes"}[passage.sentiment]
        assert name in passage.text
        assert thing in passage.text


def test_answers_in_words_are_those_of_the_passage() -> None:
    rows = [answer_row(number, passage) for number, passage in enumerate(passages_of("labeled/train")[:300])]
    for number, (row, passage) in enumerate(zip(rows, passages_of("labeled/train"), strict=False)):
        assert row["passage"] == passage.text
        answers = {each.question: each.answer for each in passage.questions}
        expected = passage.summary if number % 3 == 2 else answers[row["question"]]
        assert row["answer"] == expected
    assert len({row["question"].split()[0] for row in rows}) >= 4, "questions of several kinds"


def test_every_passage_has_both_kinds_of_question() -> None:
    for split in SPLITS:
        for passage in passages_of(split):
            assert {question.answer is None for question in passage.questions} == {True, False}


def test_labels_are_balanced() -> None:
    for split in SPLITS:
        topics = Counter(passage.topic for passage in passages_of(split))
        sentiments = Counter(passage.sentiment for passage in passages_of(split))
        assert set(topics) == set(TOPICS)
        assert all(0.7 < topics[topic] * len(TOPICS) / len(passages_of(split)) < 1.3 for topic in TOPICS)
        assert all(0.85 < sentiments[sentiment] * 2 / len(passages_of(split)) < 1.15 for sentiment in SENTIMENTS)


def words_of(passage: Passage) -> set[str]:
    return set(re.findall(r"\w+", passage.text.lower()))


def naive_bayes_accuracy(count: int) -> float:
    """Return the test accuracy of a naive Bayes classifier of the sentiment, on the words of ``count`` passages."""
    counts = {sentiment: Counter[str]() for sentiment in SENTIMENTS}
    for passage in passages_of("labeled/train")[:count]:
        counts[passage.sentiment].update(words_of(passage))

    def log_odds(passage: Passage) -> float:
        positive, negative = (counts[sentiment] for sentiment in ("positive", "negative"))
        return sum(math.log((positive[word] + 0.5) / (negative[word] + 0.5)) for word in words_of(passage))

    test = passages_of("labeled/test")
    return sum((log_odds(passage) > 0) == (passage.sentiment == "positive") for passage in test) / len(test)


def test_sentiment_is_learnable_and_more_rows_help() -> None:
    few, many = naive_bayes_accuracy(100), naive_bayes_accuracy(2000)
    assert 0.5 < few < 0.8
    assert 0.8 < many < 0.97


def test_no_word_determines_the_sentiment() -> None:
    seen = {sentiment: Counter[str]() for sentiment in SENTIMENTS}
    for passage in passages_of("labeled/train"):
        seen[passage.sentiment].update(words_of(passage))
    for word in seen["positive"] | seen["negative"]:
        assert abs(seen["positive"][word] - seen["negative"][word]) < 0.1 * len(passages_of("labeled/train")), word


def test_passages_consist_of_sentences() -> None:
    for passage in passages_of("text/train"):
        assert re.fullmatch(r"[A-Z].*\.", passage.text)
        assert "{" not in passage.text and "  " not in passage.text  # noqa: PT018
        assert not re.search(r"\ba [aeiou]|\ban (?!hour)[^aeiou]|[.] [a-z]", passage.text), passage.text
        assert 2 <= passage.text.count(".") <= 8
        assert not re.search(r"(\b\w.+\b) and \1\b", passage.text), passage.text


def test_bio_tags_encode_the_entities() -> None:
    for passage in passages_of("labeled/train"):
        tokens, tags = bio_tags(passage)
        assert "".join(tokens) == re.sub(r"\s", "", passage.text)
        for previous, tag in pairwise(["O", *tags]):
            assert tag[0] != "I" or previous[1:] == tag[1:]
        names: list[tuple[str, str]] = []
        for token, tag in zip(tokens, tags, strict=True):
            if tag[0] == "B":
                names.append((tag[2:], token))
            elif tag[0] == "I":
                names[-1] = (names[-1][0], f"{names[-1][1]} {token}")
        expected = [(entity.type, passage.text[entity.start : entity.end]) for entity in passage.entities]
        assert names == expected


def test_write_creates_all_datasets(tmp_path: Path) -> None:
    assert write(tmp_path, counts=COUNTS)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    folders = ("answers", "classification", "entailment", "liking", "ner", "qa", "sentiment", "text")
    assert found == [f"{name}/{stage}.jsonl" for name in folders for stage in ("test", "train", "validation")] + [
        "world.json"
    ]
    keys = {
        "text": {"id", "text"},
        "classification": {"id", "text", "label"},
        "sentiment": {"id", "text", "label"},
        "liking": {"id", "text", "label"},
        "entailment": {"id", "premise", "hypothesis", "label"},
        "ner": {"id", "tokens", "tags"},
        "qa": {"id", "context", "question", "answers", "is_impossible"},
        "answers": {"id", "passage", "question", "answer"},
    }
    for name in found[:-1]:
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert len({row["id"] for row in rows}) == len(rows) == (72 if name.startswith("entailment") else 12)
        assert all(set(row) == keys[name.split("/")[0]] for row in rows)
        if name.startswith("qa"):
            assert [row["is_impossible"] for row in rows] == [False, False, True] * 4
            assert all(len(row["answers"]) == (not row["is_impossible"]) for row in rows)


def test_a_world_of_an_older_version_gets_its_missing_files(tmp_path: Path) -> None:
    write(tmp_path, counts=COUNTS)
    before = (tmp_path / "liking/test.jsonl").read_text()
    (tmp_path / "liking/test.jsonl").unlink()
    assert write(tmp_path, counts=COUNTS)
    assert (tmp_path / "liking/test.jsonl").read_text() == before


def test_the_degree_of_liking_has_the_sign_of_the_sentiment() -> None:
    found = [(passage, liking(passage)) for passage in passages_of("labeled/train")]
    assert all((degree > 0) == (passage.sentiment == "positive") for passage, degree in found)
    assert {abs(degree) for _, degree in found} >= {1.0, 2.0, 3.0}
    loved = [degree for passage, degree in found if " adores the " in passage.text and passage.sentiment == "positive"]
    assert sum(loved) / len(loved) > 2.0


def test_existing_files_are_not_written_again(tmp_path: Path) -> None:
    write(tmp_path, counts=COUNTS)
    (tmp_path / "text/train.jsonl").write_text("untouched")
    assert not write(tmp_path, counts=COUNTS)
    assert (tmp_path / "text/train.jsonl").read_text() == "untouched"


def test_files_of_other_settings_are_replaced(tmp_path: Path) -> None:
    write(tmp_path, counts=COUNTS)
    before = (tmp_path / "text/train.jsonl").read_text()
    assert write(tmp_path, seed=1, counts=COUNTS)
    assert (tmp_path / "text/train.jsonl").read_text() != before


def test_an_interrupted_write_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, counts=COUNTS)

    def interrupt(*_: object) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr(toy_world, "passages", interrupt)
    with pytest.raises(RuntimeError, match="interrupted"):
        write(tmp_path, seed=1, counts=COUNTS)
    monkeypatch.undo()
    assert write(tmp_path, counts=COUNTS)


def test_default_sizes() -> None:
    texts = [passage.text for passage in passages_of("text/train")]
    mean = sum(map(len, texts)) / len(texts)
    assert 2.8e6 < mean * DEFAULT_COUNTS["text/train"] < 3.2e6
    assert 1.0e5 < mean * DEFAULT_COUNTS["text/validation"] < 1.5e5


def test_the_label_of_an_entailment_follows_only_from_both_texts() -> None:
    """Each premise, each wording and each count of shared words occurs as often with yes as with no."""
    counts: dict[bool, Counter[tuple[str, str]]] = {True: Counter(), False: Counter()}
    for number, passage in enumerate(passages(0, "labeled/train", 600, grammar.OPINION_PLANS)):
        (relation, person, thing), *others = passage.facts
        assert not others
        assert relation == {"positive": "likes", "negative": "dislikes"}[passage.sentiment]
        for text, follows in statements(number, passage):
            assert person in text
            assert thing in text
            wording = text.replace(person, "A").replace(thing, "T")
            is_liked = wording in ("A likes the T.", "A is fond of the T.", "A enjoys the T.")
            assert follows == (is_liked == (passage.sentiment == "positive"))
            shared = len({*text.split()} & {*passage.text.split()})
            counts[follows] += Counter([("premise", passage.text), ("wording", wording), ("shared", str(shared))])
    for key in counts[True] | counts[False]:
        if key[0] == "premise":
            assert counts[True][key] == counts[False][key]
        else:
            assert abs(counts[True][key] - counts[False][key]) < 60, key


def test_a_world_that_another_process_writes_at_the_same_time_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dict.fromkeys(SPLITS, 3)
    write_files = toy_world._write_files

    def write_late(folder: Path, *arguments: Any) -> None:
        write_files(folder, *arguments)
        write_files(tmp_path / "other", *arguments)
        (tmp_path / "other").rename(tmp_path / "world")

    monkeypatch.setattr(toy_world, "_write_files", write_late)
    assert not write(tmp_path / "world", counts=few)
    assert [path.name for path in tmp_path.iterdir()] == ["world"]
