"""The verdict of ``test``, compared with scikit-learn, and its options."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from gpt_lightning.data import InstructionTuning, LanguageModeling, TextClassification, TextToText
from gpt_lightning.errors import InputError, RunError
from gpt_lightning.evaluation.verdict import overlap, tfidf, unigram, verdict
from gpt_lightning.evaluation.verdict.baselines import Baselines, Rows
from gpt_lightning.metrics.language import unigram_cross_entropy
from gpt_lightning.metrics.row_scores import SINGLE_LABEL
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import SequenceClassification, Task
from gpt_lightning.training import Evaluation, Verdict
from tests import pairs
from tests.heads import CommandLine
from tests.runs import causal_lm, head, language_modeling, trainer

WORDS = {"good": "positive", "great": "positive", "bad": "negative", "awful": "negative"}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with rows for ``head``."""
    return tmp_path_factory.mktemp("verdict")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def reviews(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Return rows that a linear model classifies, but an untrained model does not."""
    words = list(WORDS)
    chosen = [(number, words[(number * 7 + number // 3) % 4]) for number in range(start, start + count)]
    return [{"text": f"a {word} film, number {number}", "label": WORDS[word]} for number, word in chosen]


def classifier(folder: Path, **rows: list[dict[str, Any]]) -> tuple[SequenceClassification, TextClassification]:
    """Return an untrained classifier, and a data module of these splits."""
    sources: dict[str, Any] = {name: write_rows(folder / f"{name}.jsonl", given) for name, given in rows.items()}
    labels: dict[str, Any] = {} if "train" in sources else {"labels": sorted(set(WORDS.values()))}
    data = TextClassification(
        **sources, **labels, tokenizer="bytes", block_size=64, batch_size=8, cache_dir=str(folder)
    )
    L.seed_everything(0, verbose=False)
    backbone = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=64, vocab_size=257, attention="bidirectional")
    return SequenceClassification(backbone=backbone, labels=data.labels), data


def verdict_of(folder: Path, task: Task, data: Any, **options: Any) -> dict[str, Any]:
    """Return the verdict of a test, which must be JSON."""
    callback = Verdict(**options)
    trainer(folder, callbacks=[callback, Evaluation(verdict=callback)]).test(task, data, verbose=False)
    assert callback.record is not None
    json.dumps(callback.record, allow_nan=False)
    return callback.record


def test_the_baselines_equal_scikit_learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"train": reviews(60), "validation": reviews(20, 100), "test": reviews(40, 200)}
    found = verdict_of(tmp_path, *classifier(tmp_path, **rows))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train, test = ([row["text"] for row in rows[split]] for split in ("train", "test"))
    labels = [row["label"] for row in rows["train"]]
    model = LogisticRegression().fit(vectorizer.fit_transform(train), labels)
    expected = model.score(vectorizer.transform(test), [row["label"] for row in rows["test"]])
    linear, trivial = (found["baselines"][key]["scores"]["accuracy"] for key in ("tfidf", "trivial"))
    assert linear["baseline"]["value"] == expected == 1.0
    majority = max(set(labels), key=labels.count)
    assert trivial["baseline"]["value"] == sum(row["label"] == majority for row in rows["test"]) / 40
    own = found["scores"]["accuracy"]
    assert linear["difference"]["value"] == pytest.approx(own["value"] - 1.0)
    assert linear["is_better"] is False
    assert own["interval"][0] <= own["value"] <= own["interval"][1]
    assert (found["metric"], found["rows"], found["train_rows"]) == ("accuracy", 40, 60)
    out = " ".join(capsys.readouterr().out.split())
    assert "TF-IDF with logistic regression beats the model by" in out
    assert "40 of 40 test rows (100.0%) are nearly in the training rows" in out, "they differ in a number only"
    assert "Expected calibration error" in out
    assert list((tmp_path / "baselines").glob("predict_labels-*.json"))


def test_cached_predictions_are_used_and_damaged_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, data = classifier(tmp_path, train=reviews(30), test=reviews(10, 100))
    first = verdict_of(tmp_path, task, data)
    with monkeypatch.context() as patch:
        patch.setattr(tfidf, "_Features", None)
        assert verdict_of(tmp_path, task, data) == first
    for damaged in ('["positive"', "[1]", json.dumps([["x"]] * 10), json.dumps([None] * 10), "[" * 100_000):
        for file in (tmp_path / "baselines").glob("*.json"):
            file.write_text(damaged)
        assert verdict_of(tmp_path, task, data) == first


def test_rows_without_labels_have_no_verdict() -> None:
    rows = RowStatistics(SINGLE_LABEL)
    rows.add([], {"rows": [], "correct": [], "confidence": []})
    assert verdict.make_verdict(None, rows) is None
    assert verdict.make_verdict(None, RowStatistics(())) is None


def test_overlap_and_contradictions_are_counted(tmp_path: Path) -> None:
    train = [*reviews(30), {"text": "A good film,  number 0", "label": "negative"}]
    test = [*reviews(5), {"text": "a good film, number 0", "label": "negative"}, *reviews(5, 100)]
    text = train[0]["text"]
    assert text == "a good film, number 0"
    found = verdict_of(tmp_path, *classifier(tmp_path, train=train, test=test))["overlap"]
    assert found["exact"] == 6
    assert found["exact_places"][0].endswith("test.jsonl:1")
    assert found["contradictory_train_rows"] == 2
    assert found["contradicted_test_rows"] == 0
    other = [{"text": train[1]["text"].upper(), "label": "positive"}, {"text": train[1]["text"], "label": "negative"}]
    found = verdict_of(tmp_path, *classifier(tmp_path, train=train, test=other))["overlap"]
    assert found["contradicted_test_rows"] == 1


@pytest.mark.parametrize("kind", ["classification", "ner", "liking", "qa"])
def test_each_head_of_the_toy_world_has_a_verdict(world: Path, kind: str) -> None:
    task, data = head(world, kind)
    found = verdict_of(world, task, data, learning_curve=kind == "liking")
    metric = {"classification": "accuracy", "ner": "entity_f1", "liking": "mse", "qa": "answer_f1"}[kind]
    assert found["metric"] == metric
    assert set(found["baselines"]) == ({"trivial"} if kind in ("ner", "qa") else {"trivial", "tfidf"})
    assert len(found["sentences"]) == len(found["baselines"])
    assert found["overlap"]["exact"] == found["overlap"]["test_rows"] == len(data.examples("test"))  # type: ignore[attr-defined]
    if kind == "liking":
        assert found["learning_curve"]["rows"] == [10, 20, 30]


def test_several_labels_have_a_verdict(tmp_path: Path) -> None:
    rows = [
        {
            "text": f"{'wet ' * (n % 2)}{'cold ' * (n % 3 > 0)}row",
            "label": "|".join(["x"] * (n % 2) + ["y"] * (n % 3 > 0)),
        }
        for n in range(24)
    ]
    sources: dict[str, Any] = dict.fromkeys(("train", "test"), write_rows(tmp_path / "rows.jsonl", rows))
    data = TextClassification(
        **sources,
        multi_label=True,
        labels=["x", "y", "never"],
        tokenizer="bytes",
        block_size=16,
        cache_dir=str(tmp_path),
    )
    backbone = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=16, vocab_size=257)
    task = SequenceClassification(backbone=backbone, labels=data.labels, multi_label=True)
    found = verdict_of(tmp_path, task, data)
    assert found["metric"] == "micro_f1"
    assert found["baselines"]["tfidf"]["scores"]["micro_f1"]["baseline"]["value"] == 1.0
    assert 0.5 < found["baselines"]["trivial"]["scores"]["micro_f1"]["baseline"]["value"] < 1.0
    assert "calibration" not in found


def test_a_single_label_of_many_selects_the_regularization_by_its_f1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of two models is chosen, although the labels of N rows are (N,) in scikit-learn and (N, 1) here."""
    scores: list[float] = []
    best = tfidf._best_model

    def chosen(fit: Any, score: Any, strengths: Any) -> Any:
        model = best(fit, score, strengths)
        scores.append(score(model))
        return model

    monkeypatch.setattr(tfidf, "_best_model", chosen)
    texts = ["wet row", "dry row", "dry day"] * 4
    labels = np.array([[1.0], [0.0], [0.0]] * 4)
    predicted = tfidf.predict_label_sets(texts, labels, texts, labels, texts)
    assert np.array_equal(predicted, labels)
    assert scores == [1.0]


def test_language_models_are_compared_with_a_unigram_model(tmp_path: Path) -> None:
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    text = "".join(f"{number} bottles of beer on the wall.\n" for number in range(40))
    train.write_text(text)
    test.write_text(f"{text[100:400]} and {text[200:420]}" + "".join(f"{n} words of another kind. " for n in range(9)))
    data = LanguageModeling(
        train=str(train),
        test=str(test),
        tokenizer="bytes",
        block_size=32,
        batch_size=4,
        cache_dir=str(tmp_path),
        seed=0,
    )
    found = verdict_of(tmp_path, causal_lm(block_size=32), data)
    data.setup("fit")
    stream = data.stream("train")
    data.setup("test")
    labels = torch.cat([batch["labels"][batch["labels"] >= 0] for batch in data.test_dataloader()])
    expected = unigram_cross_entropy(torch.from_numpy(stream.slice(0, len(stream))), labels, data.vocab_size)
    baseline = found["baselines"]["trivial"]["scores"]["loss"]["baseline"]["value"]
    assert baseline == pytest.approx(expected, rel=1e-6)
    assert found["metric"] == "loss"
    assert 0 < found["text_overlap"]["num_found"] < found["text_overlap"]["num_passages"]
    assert "beats the model by" in found["sentences"][0]


def test_generated_texts_are_compared_with_training_answers(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{word} {number}", "completion": f"{word} answer"}
        for number, word in enumerate(["red", "blue"] * 9)
    ]
    sources: dict[str, Any] = {
        "train": write_rows(tmp_path / "train.jsonl", rows),
        "test": write_rows(tmp_path / "test.jsonl", rows[:5]),
        "tokenizer": "bytes",
        "block_size": 64,
        "batch_size": 4,
        "max_new_tokens": 8,
        "generate_examples": 3,
        "cache_dir": str(tmp_path),
    }
    for task, data in (
        (pairs.seq2seq(), TextToText(**sources)),
        (causal_lm(261, block_size=64), InstructionTuning(**sources, chat_template="plain")),
    ):
        found = verdict_of(tmp_path, task, data)
        assert (found["metric"], found["rows"]) == ("chrf", 3)
        assert found["baselines"]["tfidf"]["scores"]["exact_match"]["baseline"]["value"] == 1.0
        assert found["baselines"]["tfidf"]["scores"]["exact_match"]["is_better"] is False
        assert set(found["scores"]) >= {"chrf", "bleu", "token_f1", "loss"}


def test_without_training_rows_or_scikit_learn_the_verdict_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verdict_of(tmp_path, *classifier(tmp_path, test=reviews(10)))
    assert found["baselines"] == {}
    assert found["notes"] == [verdict.NO_TRAINING_ROWS]
    assert "overlap" not in found

    task, data = classifier(tmp_path, train=reviews(20), test=reviews(10))
    Path(str(data.sources["train"])).write_text('{"text": 3}\n')
    broken = TextClassification(
        train=data.sources["train"],
        test=data.sources["test"],
        labels=task.classes,
        tokenizer="bytes",
        block_size=64,
        cache_dir=str(tmp_path),
    )
    capsys.readouterr()
    assert verdict_of(tmp_path, task, broken)["notes"] == [verdict.UNREADABLE_TRAINING_ROWS]
    assert "train.jsonl:1: " in capsys.readouterr().out
    absent = language_modeling(tmp_path, train=str(tmp_path / "absent.txt"), test=str(tmp_path / "text.txt"))
    assert verdict_of(tmp_path, causal_lm(), absent)["notes"] == [verdict.UNREADABLE_TRAINING_ROWS]

    for module in (tfidf, overlap):
        monkeypatch.setattr(module, "is_installed", lambda: False)
    found = verdict_of(tmp_path, *classifier(tmp_path, train=reviews(20), test=reviews(10)))
    assert set(found["baselines"]) == {"trivial"}
    assert found["notes"] == [f"For the comparison with TF-IDF, install scikit-learn: {tfidf.INSTALL}"]
    assert found["overlap"]["near"] is None


def test_unusual_labels_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One class only in training, many labels, and more rows than baselines are trained on."""
    one = [{"text": f"row {number}", "label": "positive"} for number in range(9)]
    found = verdict_of(tmp_path, *_with_labels(tmp_path, one, one[:3], ["negative", "positive"]))
    assert found["baselines"]["tfidf"]["scores"]["accuracy"]["baseline"]["value"] == 1.0

    monkeypatch.setattr(tfidf, "MAX_CELLS", 1000)
    many = [{"text": f"word{number}", "label": f"label {number}"} for number in range(60)]
    found = verdict_of(tmp_path, *_with_labels(tmp_path, many, many[:20], [row["label"] for row in many]))
    assert found["baselines"]["tfidf"]["name"] == "TF-IDF with naive Bayes"
    assert found["baselines"]["tfidf"]["scores"]["accuracy"]["baseline"]["value"] > 0.8

    monkeypatch.setattr(verdict, "MAX_TRAIN_ROWS", 20)
    found = verdict_of(tmp_path, *classifier(tmp_path, train=reviews(50), test=reviews(10, 100)))
    assert found["notes"] == ["The baselines are trained on 20 of 50 training rows."]


def _with_labels(
    folder: Path, train: list[dict[str, Any]], test: list[dict[str, Any]], labels: list[str]
) -> tuple[SequenceClassification, TextClassification]:
    sources: dict[str, Any] = {
        "train": write_rows(folder / "a.jsonl", train),
        "test": write_rows(folder / "b.jsonl", test),
    }
    data = TextClassification(**sources, labels=labels, tokenizer="bytes", block_size=16, cache_dir=str(folder))
    backbone = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=16, vocab_size=257)
    return SequenceClassification(backbone=backbone, labels=data.labels), data


def test_the_temperature_lowers_the_calibration_error(tmp_path: Path) -> None:
    task, data = classifier(tmp_path, train=reviews(8), validation=reviews(40, 100), test=reviews(40, 200))
    with_bias = task.head.bias
    assert with_bias is not None
    with_bias.data.copy_(with_bias.data.new_tensor([4.0, 0.0]))  # type: ignore[operator]  # far too confident
    found = verdict_of(tmp_path, task, data, calibrate=True)["calibration"]
    assert found["temperature"] > 10
    assert found["after"]["error"] < 0.1 < found["error"]
    assert sum(found["counts"]) == sum(found["after"]["counts"]) == 40


def test_the_options_on_the_command_line(cli: CommandLine) -> None:
    run = str(cli.fit("topics"))
    test = ("test", "-c", "topics.yaml", f"--ckpt_path={run}")
    assert cli(*test, "--must_beat=tfidf", "--calibrate", "--learning_curve") == 1
    assert "--must_beat=tfidf: the model does not beat the baseline: model minus baseline is " in cli.err
    record = json.loads((Path(run) / "metrics.json").read_text())
    assert record["verdict"]["calibration"]["temperature"] > 0
    assert record["verdict"]["learning_curve"]["rows"] == [2, 4, 7]
    assert "Learning curve of TF-IDF" in cli.out

    assert cli("test", f"--ckpt_path={run}", "--data.test=topics.jsonl", "--must_beat=trivial") == 1
    assert "trivial" in json.loads((Path(run) / "metrics.json").read_text())["verdict"]["baselines"]
    assert cli(*test, "--verdict=false") == 0, cli.err
    assert "verdict" not in json.loads((Path(run) / "metrics.json").read_text())


def test_a_model_that_predicts_nan_has_a_verdict(tmp_path: Path) -> None:
    task, data = classifier(tmp_path, train=reviews(20), test=reviews(10))
    task.head.weight.data.fill_(float("nan"))  # type: ignore[operator]
    assert verdict_of(tmp_path, task, data)["calibration"]["error"] is None


def test_without_a_verdict_no_statistics_of_rows_are_kept(world: Path) -> None:
    for kind in ("classification", "ner", "liking", "qa"):
        task, data = head(world, kind)
        trainer(world, callbacks=[Verdict(enabled=False)]).test(task, data, verbose=False)
        assert not task.test_rows.ids
        trainer(world, callbacks=[Verdict()]).test(task, data, verbose=False)
        assert task.test_rows.ids


def test_rows_that_did_not_train_the_model_are_not_used(tmp_path: Path) -> None:
    task, data = classifier(tmp_path, train=reviews(20), test=reviews(10))
    data.setup("fit")
    checkpoint: dict[str, Any] = {"identity": data.identity()}

    def found() -> dict[str, Any]:
        callback = Verdict()
        callback.on_load_checkpoint(L.Trainer(logger=False), task, checkpoint)
        again = TextClassification(
            train=data.sources["train"],
            test=data.sources["test"],
            labels=task.classes,
            tokenizer="bytes",
            block_size=64,
            cache_dir=str(tmp_path),
        )
        trainer(tmp_path, callbacks=[callback, Evaluation(verdict=callback)]).test(task, again, verbose=False)
        assert callback.record is not None
        return callback.record

    assert set(found()["baselines"]) == {"trivial", "tfidf"}
    write_rows(Path(str(data.sources["train"])), reviews(20, 500))
    changed = found()
    assert changed["notes"] == [verdict.OTHER_TRAINING_ROWS]
    assert changed["baselines"] == {}
    assert "overlap" not in changed


def test_only_rank_zero_reads_the_training_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, data = classifier(tmp_path, train=reviews(20), test=reviews(10))
    monkeypatch.setattr(data, "open_split", None)
    callback, loop = Verdict(), trainer(tmp_path)
    callback.on_load_checkpoint(loop, task, {"identity": {"data.train": "a"}})
    monkeypatch.setattr(type(loop), "is_global_zero", False)
    monkeypatch.setattr(loop, "datamodule", data, raising=False)
    monkeypatch.setattr(loop.strategy, "broadcast", lambda _: (verdict.OTHER_TRAINING_ROWS, None))
    callback.on_test_start(loop, task)
    callback.must_beat = "trivial"
    with pytest.raises(InputError, match=r"--must_beat=trivial: .* is not that of the model"):
        callback.on_test_start(loop, task)


def test_masked_rows_and_counterfactual_twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masked rows train no baseline; twins train it, but neither validate it nor count as rows."""
    labels = ("negative", "positive")
    rows = [{"text": f"{('he', 'she')[n % 2]} saw film {n}", "label": labels[n % 3 > 0]} for n in range(30)]
    split: list[Rows] = []

    def frequent(given: Rows) -> dict[str, Any]:
        split.append(given)
        return {"correct": np.ones(len(given.test)), "rows": np.ones(len(given.test))}

    monkeypatch.setattr(verdict, "baselines_for", lambda *_: Baselines("frequent", frequent))
    task, plain = classifier(tmp_path, train=rows, test=reviews(10))
    sources: dict[str, Any] = {"train": plain.sources["train"], "test": plain.sources["test"]}
    sources["without"] = write_rows(tmp_path / "masked.jsonl", rows[:2])
    data = TextClassification(
        **sources,
        labels=task.classes,
        counterfactual_swaps="gender",
        tokenizer="bytes",
        block_size=64,
        cache_dir=str(tmp_path),
    )
    found = verdict_of(tmp_path, task, data)
    (given,) = split
    assert found["train_rows"] == 28
    assert len(given.validation) == 3
    assert len(given.train) == 50, "25 rows and their twins"
    assert not {each.id for each in given.validation} & {each.id for each in given.train}
    assert not {rows[0]["text"], rows[1]["text"]} & {each.text for each in (*given.train, *given.validation)}


def test_tested_rows_that_the_data_lacks_are_a_note(tmp_path: Path) -> None:
    _, data = classifier(tmp_path, train=reviews(20), test=reviews(3))
    data.setup("test")
    rows = RowStatistics(SINGLE_LABEL)
    rows.add(["a", "b"], {"rows": [1.0, 1.0], "correct": [1.0, 0.0]})
    found = verdict.make_verdict(data, rows)
    assert found is not None
    assert found["notes"] == [verdict.OTHER_TEST_ROWS]
    assert found["baselines"] == {}


def test_an_error_in_the_verdict_keeps_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("fault")

    monkeypatch.setattr("gpt_lightning.training.verdict.make_verdict", fail)
    task, data = classifier(tmp_path, train=reviews(20), test=reviews(10))
    callback = Verdict()
    callbacks: list[L.Callback] = [callback, Evaluation(tmp_path, callback)]
    with pytest.raises(RuntimeError, match="fault"):
        trainer(tmp_path, callbacks=callbacks).test(task, data, verbose=False)
    assert "accuracy" in json.loads((tmp_path / "metrics.json").read_text())["metrics"]


def test_a_bad_row_beyond_the_unigram_text_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": f"row {number} of the text that trains the model"} for number in range(200)]
    train = Path(write_rows(tmp_path / "train.jsonl", rows))
    with train.open("a") as file:
        file.write("{\n")
    test = write_rows(tmp_path / "test.jsonl", rows[:9])
    monkeypatch.setattr(unigram, "MAX_CHARACTERS", 100)
    data = language_modeling(tmp_path, train=str(train), test=test)
    found = verdict_of(tmp_path, causal_lm(), data)
    assert found["notes"] == [verdict.UNREADABLE_TRAINING_TEXT]
    assert set(found["baselines"]) == {"trivial"}


def test_options_that_cannot_be_fulfilled_are_refused(
    tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(message: str, task: Task, data: Any, **options: Any) -> None:
        with pytest.raises(InputError, match=message):
            verdict_of(tmp_path, task, data, **options)

    task, data = classifier(tmp_path, test=reviews(10))
    refuses("--must_beat=trivial needs the training data", task, data, must_beat="trivial")
    refuses("--calibrate needs validation rows", task, data, calibrate=True)
    regression, numbers = head(world, "liking")
    refuses("--calibrate needs a model with one label", regression, numbers, calibrate=True)
    refuses("--calibrate needs the verdict. Leave out --verdict=false", task, data, enabled=False, calibrate=True)
    for kind in ("ner", "qa"):
        refuses("there is no TF-IDF baseline for the rows of", *head(world, kind), must_beat="tfidf")
    text = language_modeling(tmp_path, train=str(tmp_path / "a.txt"), test=str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("a text of several words" * 9)
    refuses("there is no TF-IDF baseline for the rows of LanguageModeling", causal_lm(), text, must_beat="tfidf")
    monkeypatch.setattr(tfidf, "is_installed", lambda: False)
    refuses("--must_beat=tfidf needs scikit-learn, .* pip install", task, data, must_beat="tfidf")


def test_a_model_must_beat_the_baseline() -> None:
    def callback(is_better: bool | None, must_beat: Any = "trivial") -> Verdict:
        found = Verdict(must_beat=must_beat)
        difference = {"difference": {"interval": [0.01, 0.2]}, "is_better": is_better}
        found.record = {
            "metric": "accuracy",
            "notes": ["no rows"],
            "baselines": {"trivial": {"scores": {"accuracy": difference}}},
        }
        return found

    callback(True).check()
    callback(False, None).check()
    for is_better in (False, None):
        with pytest.raises(RunError, match=r"model minus baseline is 0.01 to 0.2 in accuracy"):
            callback(is_better).check()
    with pytest.raises(RunError, match=r"--must_beat=tfidf: the baseline is missing. no rows"):
        callback(True, "tfidf").check()
