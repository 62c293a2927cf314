"""``gpt-lightning bias``: printed report, JSON and HTML for language models and heads, and invalid input."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gpt_lightning as gl
from gpt_lightning.evaluation.bias.pair_preference import CRITICISM
from gpt_lightning.tasks import SequenceClassification
from gpt_lightning.tasks.export import export_task
from gpt_lightning.tokenizers.build import bytes_tokenizer
from tests.heads import HOSTILE, CommandLine
from tests.runs import TINY, causal_lm

PAIRS = [
    {"sent_more": "Women cook.", "sent_less": "Men cook.", "bias_type": "gender", "direction": "stereo"},
    {"sent_more": HOSTILE, "sent_less": "Young men.", "bias_type": "<b>age</b>", "direction": "antistereo"},
    {"sent_more": "Same.", "sent_less": "Same.", "bias_type": "gender", "direction": "stereo"},
]
ROWS = [
    {"id": "a", "text": f"She sings. {HOSTILE}", "label": "sport"},
    {"id": "b", "text": "he runs", "label": "weather"},
    {"id": "c", "text": "rain", "label": "weather"},
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def language_model(folder: Path) -> str:
    """Write a tiny language model and return its folder."""
    tokenizer = bytes_tokenizer()
    export_task(causal_lm(block_size=64), tokenizer, folder / "source", folder / "model", "float32")
    return "model"


def classifier(folder: Path) -> str:
    """Write a tiny classifier and return its folder."""
    backbone = replace(TINY, vocab_size=257, attention="bidirectional", block_size=128)
    task = SequenceClassification(backbone=backbone, labels=["sport", "weather"])
    export_task(task, bytes_tokenizer(), folder / "source", folder / "head", "float32")
    return "head"


def test_sentence_pairs(run: CommandLine) -> None:
    model, pairs = language_model(run.folder), write(run.folder / "pairs.jsonl", PAIRS)
    assert run("bias", model, "--pairs", pairs, "--output", "report.json") == 0, run.err
    report = json.loads((run.folder / "report.json").read_text())
    assert report["overall"]["num_pairs"] == 3
    assert report["overall"]["ties"] == 1
    assert set(report["by_type"]) == {"gender", "<b>age</b>"}
    assert report["notes"] == [CRITICISM]
    assert "Stereotyping Norwegian Salmon" in " ".join(run.out.split())
    nll = [score.nll for score in gl.load(model).score([PAIRS[0]["sent_more"], PAIRS[0]["sent_less"]])]
    assert [report["pairs"][0][key]["nll"] for key in ("more", "less")] == pytest.approx(nll, rel=1e-5)
    share, low, high = (report["overall"]["share"][key] for key in ("value", "low", "high"))
    assert f"{share:.3f} [{low:.3f}, {high:.3f}]" in run.out

    assert run("bias", model, "--pairs", pairs, "--output", "report.html") == 0, run.err
    page = (run.folder / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;age" in page
    assert "Stereotyping Norwegian Salmon" in page
    assert f"{share:.3f} [{low:.3f}, {high:.3f}]" in page


def test_rows_with_swapped_words(run: CommandLine) -> None:
    folder = run.fit("topics", "--data.counterfactual_swaps", "gender")
    assert "1 of 7 rows are also trained on with swapped words" in run.out
    rows = write(run.folder / "rows.jsonl", ROWS)
    assert run("bias", str(folder), "--input", rows, "--output", "report.json") == 0, run.err
    report = json.loads((run.folder / "report.json").read_text())
    assert (report["num_rows"], report["num_swapped"], report["num_of_group"]) == (3, 2, {"female": 1, "male": 1})
    swapped = [{"text": text} for text in (ROWS[0]["text"].replace("She", "He"), "she runs")]
    expected = gl.load(folder).predict([{"text": ROWS[0]["text"]}, {"text": ROWS[1]["text"]}, *swapped])
    scores = [record["scores"]["sport"] for record in expected]
    gap = ((scores[0] - scores[2]) + (scores[3] - scores[1])) / 2
    assert report["score_gaps"]["sport"]["value"] == pytest.approx(gap, abs=1e-6)
    assert set(report["score_gaps"]) == set(gl.load(folder).task.hparams["labels"])
    assert report["errors"].keys() == {"female", "male"}
    assert "2 of 3 rows have a word to swap: 1 only female, 1 only male, 0 both" in " ".join(run.out.split())

    swaps = run.folder / "swaps.yaml"
    swaps.write_text("groups: [dry, wet]\npairs:\n- [sun, rain]\n")
    renamed = write(run.folder / "renamed.jsonl", [{"review": row["text"], "label": row["label"]} for row in ROWS])
    options = ("--input", renamed, "--swaps", "swaps.yaml", "--data.text_column", "review", "--data.batch_size", "1")
    assert run("bias", str(folder), *options, "--output", "report.html") == 0, run.err
    page = (run.folder / "report.html").read_text()
    assert "<mark>rain</mark>" in page
    assert "<script" not in page
    assert "dry - wet" in page
    assert "so a twin may be odd or false" in page


def test_invalid_input(run: CommandLine) -> None:
    model, pairs = language_model(run.folder), write(run.folder / "pairs.jsonl", PAIRS)
    head, rows = classifier(run.folder), write(run.folder / "rows.jsonl", ROWS)
    nobody = write(run.folder / "nobody.jsonl", ROWS[2:])
    wrong = write(run.folder / "wrong.jsonl", [*PAIRS, {"sent_more": "x"}])
    unlabeled = write(run.folder / "unlabeled.jsonl", [{"text": "she"}])
    for arguments, message in [
        ((model,), "give either --pairs FILE, for a language model, or --input FILE"),
        ((model, "--pairs", pairs, "--input", rows), "give either --pairs FILE"),
        ((model, "--input", rows), "holds a CausalLM, whose rows cannot be compared after a swap of words"),
        ((head, "--pairs", pairs), "holds a SequenceClassification, but only a CausalLM scores --pairs"),
        ((model, "--pairs", wrong), "wrong.jsonl:4: there is no column 'sent_less'"),
        ((model, "--pairs", "none.jsonl"), "none.jsonl"),
        ((head, "--input", nobody), "nobody.jsonl: none of the 1 rows has a word of the list"),
        ((head, "--input", rows, "--swaps", "none"), "none: no such file"),
        (
            (head, "--input", rows, "--data.train", "x"),
            "--data.train: TextClassification cannot read rows with this argument",
        ),
        ((head, "--input", rows, "--output", "x.txt"), "must end in .html or .json"),
        ((head, "--input", rows, "--output", rows), "must end in"),
        ((model, "--pairs", pairs, "--batch_tokens", "0"), "--batch_tokens 0 must be at least 1"),
    ]:
        assert run("bias", *arguments) == 2, arguments
        assert message in run.err
        assert "Traceback" not in run.err
    assert run("bias", head, "--input", unlabeled) == 0, run.err
    assert "There are no errors, because no row has a valid label" in " ".join(run.out.split())
    (run.folder / "old.json").write_text("kept")
    assert run("bias", head, "--input", rows, "--output", "old.json") == 2
    assert "old.json already exists" in run.err
    assert (run.folder / "old.json").read_text() == "kept"
