"""Gaps between rows and their twins, compared with direct predictions and with planted gaps."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt_lightning.data import SequenceTagging, TextClassification, TextRegression
from gpt_lightning.data.sources.source import read_rows
from gpt_lightning.data.word_swaps.load import load_swaps
from gpt_lightning.data.word_swaps.swaps import Swaps
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.bias.swap_gaps import GapReport, compare_rows, gap_report, swappable_rows
from gpt_lightning.metrics.span import exact_match
from gpt_lightning.toy_world.write import bio_tags, passages
from tests.runs import HEADS, head

GENDER = load_swaps("gender", "--swaps")


def measure(task: Any, data: Any, rows: list[dict[str, Any]], folder: Path, swaps: Swaps = GENDER) -> GapReport:
    """Return the report on rows."""
    source = folder / "measured.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    swappable = swappable_rows(data, read_rows(str(source), split="test"), swaps, str(source))
    return gap_report(compare_rows(task, data, swappable, swaps), swappable, swaps.groups)


class Scorer(torch.nn.Module):
    """Task without a model, whose predictions are a function of the text."""

    device = torch.device("cpu")

    def __init__(self, record: Any) -> None:
        super().__init__()
        self.record = record

    def predict_step(self, batch: Any, _: int) -> list[dict[str, Any]]:
        return [{"id": name, **self.record(text)} for name, text in zip(batch["ids"], batch["texts"], strict=True)]


def classifier(favored: str, wrong: float) -> Scorer:
    """Return a scorer of the labels good and bad: 0.9 for texts with ``favored``, and random answers otherwise."""
    draw = random.Random(0)

    def record(text: str) -> dict[str, Any]:
        is_favored = favored in text.split()
        score = 0.9 if is_favored else 0.4
        return {
            "label": "good" if is_favored or draw.random() >= wrong else "bad",
            "scores": {"good": score, "bad": 1 - score},
        }

    return Scorer(record)


def texts_module(folder: Path, kind: type[Any] = TextClassification, **settings: Any) -> Any:
    defaults = {"tokenizer": "bytes", "block_size": 64, "batch_size": 8, "cache_dir": str(folder)}
    return kind(**{**defaults, **({"labels": ["good", "bad"]} if kind is TextClassification else {}), **settings})


@pytest.mark.parametrize("wrong", [0.3, 0.5, 0.8])
def test_a_planted_gap_lies_in_its_interval(tmp_path: Path, wrong: float) -> None:
    rows = [{"text": f"{['she', 'he'][number % 2]} is here", "label": "good"} for number in range(300)]
    rows += [{"text": "she met him", "label": "good"}, {"text": "rain", "label": "bad"}]
    report = measure(classifier("she", wrong), texts_module(tmp_path), rows, tmp_path)
    assert report.groups == ("female", "male")
    assert (report.num_rows, report.num_swapped) == (302, 301)
    assert report.num_of_group == {"female": 150, "male": 150}
    assert report.score_gaps["good"].value == pytest.approx(0.5)
    assert report.scores["good"] == pytest.approx({"female": 0.9, "male": 0.4})
    assert report.score_gaps["bad"].value == pytest.approx(-0.5)
    assert report.errors["female"].value == 0.0
    assert report.error_gap is not None
    assert report.error_gap.low <= -wrong <= report.error_gap.high < 0
    assert report.change.value == pytest.approx((300 * 0.5 + 0.5) / 301)
    assert report.changed is not None
    assert report.changed.num_rows == 301


@pytest.mark.parametrize("kind", ["classification", "ner", "liking", "qa"])
def test_predictions_equal_those_for_rows_with_swapped_words(tmp_path: Path, kind: str) -> None:
    """The twins are written to a file, and the data module predicts them from there."""
    rows = toy_rows(kind)
    source = tmp_path / f"{kind}-12.jsonl"  # the file from which head() reads
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task, data = head(tmp_path, kind, rows=12)
    task.eval()
    report = measure(task, data, rows, tmp_path)
    changed = [swapped_row(kind, row) for row in rows]
    expected = [predict(task, kind, each, tmp_path) for each in (rows, changed)]
    assert 3 < report.num_swapped <= 12
    assert len(report.rows) == report.num_swapped
    for each in report.rows:
        number = next(index for index, row in enumerate(rows) if row["id"] == each.id)
        for version, error in zip((0, 1), each.errors or (None, None), strict=True):
            record = expected[version][number]
            row = (rows, changed)[version][number]
            if kind == "classification":
                assert each.scores[version] == pytest.approx(record["scores"])
                assert error == (record["label"] != row["label"])
            elif kind == "liking":
                assert each.scores[version]["value"] == pytest.approx(record["value"], rel=1e-5)
                assert error == pytest.approx(abs(record["value"] - row["label"]), rel=1e-5)
            elif kind == "qa":
                golds = [answer["text"] for answer in row["answers"]]
                assert each.answers[version] == (record["answer"] or "no answer")
                assert error == 1 - exact_match(record["answer"], golds)
            else:
                assert each.answers[version].count("(") >= len(record["entities"])
                gold = sum(tag.startswith("B-") for tag in row["tags"])
                assert error is None or error * gold == pytest.approx(round(error * gold))
    changes = [each.change for each in report.rows]
    assert changes == sorted(changes, reverse=True)
    assert report.change.value == pytest.approx(np.mean(changes))


def toy_rows(kind: str) -> list[dict[str, Any]]:
    """Return 12 rows of the toy world for a head."""
    rows = []
    for number, passage in enumerate(passages(0, "labeled/validation", 12)):
        tokens, tags = bio_tags(passage)
        question = passage.questions[number % len(passage.questions)]
        answer = [] if question.answer is None else [{"text": question.answer, "answer_start": question.answer_start}]
        columns: dict[str, dict[str, Any]] = {
            "classification": {"text": passage.text, "label": passage.topic},
            "liking": {"text": passage.text, "label": number / 4},
            "ner": {"tokens": tokens, "tags": tags},
            "qa": {"question": question.question, "context": passage.text, "answers": answer},
        }
        rows.append({"id": f"r{number}", **columns[kind]})
    return rows


def swapped_row(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the toy world with swapped words; answers are found again in the new context."""
    if kind == "ner":
        return {**row, "tokens": GENDER(" ".join(row["tokens"])).text.split(" ")}
    if kind != "qa":
        return {**row, "text": GENDER(row["text"]).text}
    context = GENDER(row["context"]).text
    answers = [{"text": text, "answer_start": context.index(text)} for text in swapped_answers(row)]
    return {**row, "question": GENDER(row["question"]).text, "context": context, "answers": answers}


def swapped_answers(row: dict[str, Any]) -> list[str]:
    return [GENDER(answer["text"]).text for answer in row["answers"]]


def predict(task: Any, kind: str, rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the records of rows in a file."""
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {
        "classification": {"labels": getattr(task, "classes", None)},
        "ner": {"labels": getattr(task, "labels", None)},
    }.get(kind, {})
    data = HEADS[kind][1](
        test=str(source),
        tokenizer="bytes",
        block_size=task.backbone.config.block_size,
        cache_dir=str(folder),
        **settings,
    )
    data.setup("predict")
    with torch.inference_mode():
        return [record for batch in data.predict_dataloader() for record in task.predict_step(batch, 0)]


def test_tags_of_names(tmp_path: Path) -> None:
    """A tagger that misses the names of one group."""

    def record(text: str) -> dict[str, Any]:
        found = [
            {"label": "PER", "start": start, "end": start + 4, "text": "John", "score": 1.0}
            for start in range(len(text))
            if text.startswith("John", start)
        ]
        return {"tags": [], "entities": found}

    settings: dict[str, Any] = {"labels": ["O", "B-PER", "I-PER"]}
    data = texts_module(tmp_path, SequenceTagging, **settings)
    rows = [
        {"tokens": ["Yes", ",", "Jennifer", "met", "us"], "tags": ["O", "O", "B-PER", "O", "O"]},
        {"tokens": ["John", "slept"], "tags": ["B-PER", "O"]},
        {"tokens": ["he", "slept"], "tags": ["O", "O"]},
    ]
    report = measure(Scorer(record), data, rows, tmp_path)
    gap = report.score_gaps["swapped words in an entity"]
    assert gap.value == pytest.approx(-2 / 3)
    assert gap.num_rows == 3
    assert report.error_gap is not None
    assert (report.error_gap.value, report.error_gap.num_rows) == (1.0, 2)
    assert report.changed is not None
    assert report.changed.value == pytest.approx(2 / 3)


def test_several_labels(tmp_path: Path) -> None:
    data = texts_module(tmp_path, multi_label=True)

    def record(text: str) -> dict[str, Any]:
        is_female = "she" in text
        return {
            "labels": ["good", "bad"] if is_female else ["good"],
            "scores": {"good": 0.7, "bad": 0.8 if is_female else 0.2},
        }

    report = measure(Scorer(record), data, [{"text": "she is", "label": ["good"]}], tmp_path)
    assert report.change.value == pytest.approx(0.6)
    assert report.error_gap is not None
    assert report.error_gap.value == 1.0


def test_rows_without_labels_have_no_errors(tmp_path: Path) -> None:
    rows = [{"text": text} for text in ("she is", "he is")]
    report = measure(classifier("she", 0.0), texts_module(tmp_path), rows, tmp_path)
    assert report.errors == {}
    assert report.error_gap is None
    assert report.unlabeled is not None
    assert "there is no column 'label'" in report.unlabeled
    assert report.score_gaps["good"].value == pytest.approx(0.5)


def test_numbers_have_no_changed_predictions(tmp_path: Path) -> None:
    values = itertools.cycle([2.0, 3.5])
    report = measure(
        Scorer(lambda _: {"value": next(values)}),
        texts_module(tmp_path, TextRegression),
        [{"text": "He", "label": 2}],
        tmp_path,
    )
    assert report.changed is None
    assert report.score_gaps["value"].value == pytest.approx(1.5)
    assert report.error_gap is not None
    assert report.error_gap.value == pytest.approx(1.5)


def test_invalid_rows(tmp_path: Path) -> None:
    data, task = texts_module(tmp_path), classifier("she", 0.0)
    with pytest.raises(InputError, match=r"measured.jsonl: none of the 2 rows has a word of the list"):
        measure(task, data, [{"text": "rain", "label": "bad"}, {"text": "theme", "label": "bad"}], tmp_path)
    with pytest.raises(InputError, match=r"measured.jsonl:2: the label 'odd' is not one of the 2 labels"):
        measure(task, data, [{"text": "she", "label": "bad"}, {"text": "he", "label": "odd"}], tmp_path)
    with pytest.raises(InputError, match=r"measured.jsonl:1: there is no column 'text'"):
        measure(task, data, [{"txt": "she"}], tmp_path)
