"""Scores of the rows of a test, compared with the metrics that the test logs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt_lightning.data import TextClassification
from gpt_lightning.metrics.direction import best_mode
from gpt_lightning.metrics.row_scores import ANSWERS, GENERATED, MULTI_LABEL, NUMBERS, SINGLE_LABEL, TAGS, tag_columns
from gpt_lightning.metrics.row_statistics import RowScore, RowStatistics
from gpt_lightning.tasks import SequenceClassification
from tests import answering, pairs
from tests.runs import causal_lm, head, language_modeling, trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with rows for ``head``."""
    return tmp_path_factory.mktemp("rows")


def scores_of(task: Any) -> dict[str, float]:
    """Return each score from the sums over all rows."""
    columns = task.test_rows.columns()
    return {
        each.name: float(each.formula(each.of(columns).sum(axis=0)))
        for each in task.test_rows.scores
        if each.is_in(columns)
    }


def scores_and_metrics(
    folder: Path, task: Any, data: Any, **arguments: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the scores from the rows of a test, and the logged metrics."""
    (logged,) = trainer(folder, **arguments).test(task, data, verbose=False)
    return scores_of(task), {name.removeprefix("test/"): value for name, value in logged.items()}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("classification", {"accuracy"}),
        ("ner", {"entity_f1", "entity_precision", "entity_recall", "token_accuracy"}),
        ("liking", {"mse", "mae", "pearson"}),
        ("qa", {"answer_f1", "exact_match"}),
    ],
)
def test_the_rows_of_a_head_give_its_metrics(folder: Path, kind: str, names: set[str]) -> None:
    task, data = head(folder, kind)
    if kind == "qa":
        task.no_answer_threshold = 0.25  # type: ignore[assignment]  # leaves some questions without an answer
    scores, logged = scores_and_metrics(folder, task, data)
    assert scores == pytest.approx({name: logged[name] for name in names}, rel=1e-6)
    assert sorted(task.test_rows.ids) == sorted(each.id for each in data.examples("test"))  # type: ignore[attr-defined]


def test_the_rows_of_several_labels_give_their_metrics(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"text": f"row {n}", "label": ["a"] * (n % 2) + ["b"] * (n % 3 > 0)} for n in range(11)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments: dict[str, Any] = dict.fromkeys(("train", "test"), str(file))
    data = TextClassification(
        **arguments, multi_label=True, tokenizer="bytes", block_size=16, batch_size=4, cache_dir=str(tmp_path), seed=0
    )
    first, _ = head(folder, "classification")
    task = SequenceClassification(
        backbone=first.backbone.config, labels=data.labels, multi_label=True, thresholds={"a": 0.49}
    )
    scores, logged = scores_and_metrics(tmp_path, task, data)
    assert scores == pytest.approx({name: logged[name] for name in ("micro_f1", "accuracy")}, rel=1e-6)


def test_the_rows_of_language_models_give_their_losses(tmp_path: Path) -> None:
    text = str(tmp_path / "text.txt")
    scores, logged = scores_and_metrics(
        tmp_path, causal_lm(), language_modeling(tmp_path, test=text, mask_documents=True)
    )
    assert scores == pytest.approx(logged, rel=1e-6)
    assert set(scores) == {"loss", "perplexity", "bits_per_byte"}


def test_the_rows_of_generated_texts_give_their_scores(tmp_path: Path) -> None:
    for task, data in (
        (answering.task(), answering.data(tmp_path, generate_examples=7)),
        (pairs.seq2seq(), pairs.reversed_lines(tmp_path, generate_examples=3)),
    ):
        scores, logged = scores_and_metrics(tmp_path, task, data)
        assert set(scores) == {"chrf", "token_f1", "exact_match", "bleu", "loss", "perplexity", "bits_per_byte"}
        assert scores == pytest.approx({name: logged[name] for name in scores}, rel=1e-6)


def test_pearson_is_nan_for_equal_predictions_and_exact_for_large_means() -> None:
    rows = RowStatistics(NUMBERS)
    target = np.random.default_rng(0).normal(size=50)
    rows.add([""] * 50, {"rows": np.ones(50), "target": target + 1e6, "prediction": np.full(50, 0.1)})
    pearson = next(each for each in NUMBERS if each.name == "pearson")
    assert np.isnan(pearson.formula(pearson.of(rows.columns()).sum(axis=0)))
    noisy = target + np.random.default_rng(1).normal(size=50)
    columns = {"rows": np.ones(50), "target": target + 1e6, "prediction": noisy - 1e5}
    exact = np.corrcoef(target, noisy)[0, 1]
    assert pearson.formula(pearson.of(columns).sum(axis=0)) == pytest.approx(exact, rel=1e-6)


def test_padding_and_rows_beyond_the_limit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_lightning.metrics.row_statistics.MAX_ROWS", 3)
    rows = RowStatistics(())
    rows.add(["a", "b"], {"rows": torch.ones(4)})
    rows.add(["c", "d"], {"rows": torch.ones(2), "texts": [1.0, 1.0]})
    assert rows.ids == ["a", "b", "c"]
    assert rows.num_left_out == 1
    assert {name: values.tolist() for name, values in rows.columns().items()} == {
        "rows": [1.0, 1.0, 1.0],
        "texts": [0.0, 0.0, 1.0],
    }
    other = RowStatistics(())
    other.extend([rows, rows])
    assert other.ids == ["a", "b", "c"]
    assert other.num_left_out == 5


def test_tags_are_compared_by_text() -> None:
    columns = tag_columns([["B-X", "I-X"], ["O"]], [["B-X", "O"], ["O"]])
    assert columns["matched"] == [0.0, 0.0]
    assert columns["predicted"] == columns["gold"] == [1.0, 0.0]
    assert columns["correct"] == [1.0, 1.0]


@pytest.mark.parametrize("scores", [SINGLE_LABEL, MULTI_LABEL, TAGS, ANSWERS, NUMBERS, GENERATED])
def test_each_score_has_the_direction_of_its_metric(scores: tuple[RowScore, ...]) -> None:
    for score in scores:
        assert score.higher_is_better == {"max": True, "min": False}[str(best_mode(f"test/{score.name}"))]
