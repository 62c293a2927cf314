"""``gpt-lightning explain``: page, JSON and summary for each task, and invalid input."""

import json
import re
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import gpt_lightning as gl
from gpt_lightning.errors import InputError
from gpt_lightning.pages.text import format_number
from gpt_lightning.status import progress
from tests.evaluation.explain.models import write_rows
from tests.heads import HOSTILE, CommandLine
from tests.pages.markup import check_page
from tests.pairs import seq2seq
from tests.runs import HEADS, causal_lm, head, language_modeling, trainer


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


ROWS: dict[str, dict[str, Any]] = {
    "classification": {"text": f"a fine day {HOSTILE}"},
    "liking": {"text": f"a fine day {HOSTILE}"},
    "ner": {"text": f"Bo Stone {HOSTILE}"},
    "qa": {"question": "Who?</script>", "context": f"Bo Stone {HOSTILE}"},
    "causal": {"text": f"Once {HOSTILE}"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a checkpoint of each task after one step."""
    folder = tmp_path_factory.mktemp("models")
    tasks = {kind: head(folder, kind, rows=8) for kind in HEADS}
    tasks["causal"] = causal_lm(block_size=128), language_modeling(folder, block_size=128)
    for kind, (task, data) in tasks.items():
        fit = trainer(folder, max_steps=1, limit_val_batches=0)
        fit.fit(task, datamodule=data)
        fit.save_checkpoint(folder / f"{kind}.ckpt")
    return {kind: folder / f"{kind}.ckpt" for kind in tasks}


@pytest.mark.parametrize("kind", ROWS)
def test_page_and_json_hold_the_same_numbers(kind: str, models: dict[str, Path], run: CommandLine) -> None:
    write_rows(Path("rows.jsonl"), [{"id": "<b>7</b>", **ROWS[kind]}, ROWS[kind]])
    files = "--input=rows.jsonl", "--output=page.html", "--json=found.json", "--device=cpu"
    assert run("explain", str(models[kind]), *files) == 0, run.err
    page, found = Path("page.html").read_text(), json.loads(Path("found.json").read_text())
    parsed = check_page(page)
    assert [each["id"] for each in found] == ["<b>7</b>", "1"]
    expected = gl.load(models[kind], device="cpu").explain([{"id": "<b>7</b>", **ROWS[kind]}, ROWS[kind]])
    assert found == json.loads(json.dumps([each.as_dict() for each in expected]))
    assert "<script>" not in page.replace("&lt;script&gt;", "")
    for each in found:
        assert each["decisions"]
        for decision in each["decisions"]:
            assert decision["attributions"]["gap"] <= 0.01
            assert repr(decision["target"])[1:-1] in parsed.text
            assert repr(decision["target"]) in run.out
            numbers = [format_number(value) for value in decision["attributions"]["tokens"] if value]
            assert all(number in parsed.text for number in numbers)
            assert f"{decision['attributions']['gap']:.2%}" in parsed.text
        inside = each["internals"]
        assert all(layer["layer"] in parsed.text for layer in inside["attention"])
        assert len(inside["attention"]) == 1
        assert (len(inside["losses"]) > 0) == (kind == "causal")
        assert (len(inside["head_lens"]) > 0) == (kind != "causal")
        assert all(format_number(layer["score"]) in parsed.text for layer in inside["head_lens"])
        assert all(format_number(loss["loss"]) in parsed.text for loss in inside["losses"])


def test_sources_and_targets_of_an_encoder_decoder(run: CommandLine, tmp_path: Path) -> None:
    file = str(write_rows(Path("pairs.jsonl"), [{"prompt": "ab", "completion": "ba"}]))
    data = gl.TextToText(train=file, tokenizer="bytes", block_size=64, cache_dir="cache")
    fit = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    fit.fit(seq2seq(), datamodule=data)
    fit.save_checkpoint("version_0/checkpoints/step_1.ckpt")
    model = "version_0/checkpoints/step_1.ckpt"
    files = "--output=page.html", "--json=found.json", "--device=cpu"
    assert run("explain", model, "--text=abc def", "--target=fed", *files) == 0, run.err
    (found,) = json.loads(Path("found.json").read_text())
    assert found["texts"] == {"source": "abc def"}
    assert [each["target"] for each in found["decisions"]] == ["f", "e", "d"]
    assert [each["text"] for each in found["internals"]["losses"]] == ["f", "e", "d"]
    layers = [each["layer"] for each in found["internals"]["attention"]]
    assert layers == ["encoder.blocks.0.attention", "blocks.0.attention", "blocks.0.cross_attention"]
    page = check_page(Path("page.html").read_text())
    assert "Contribution of each source word to each target token" in page.text
    reading = {"template": "translate: {en}", "target": "fr"}
    Path("version_0/config.yaml").write_text(json.dumps({"data": {"init_args": reading}}))
    write_rows(Path("rows.jsonl"), [{"en": "abc def"}])
    assert run("explain", model, "--input=rows.jsonl", "--target=fed", *files, "--overwrite") == 0, run.err
    (found,) = json.loads(Path("found.json").read_text())
    assert found["texts"] == {"source": "translate: abc def"}


def test_a_text_and_standard_input(models: dict[str, Path], run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    model = str(models["classification"])
    assert run("explain", model, "--text=a fine day", "--json=a.json") == 0, run.err
    for option, content in (("--text=-", b"a fine day"), ("--input=-", b'{"text": "a fine day"}\n')):
        monkeypatch.setattr(sys, "stdin", type("Input", (), {"buffer": BytesIO(content)}))
        assert run("explain", model, option, "--json=b.json", "--overwrite") == 0, run.err
        assert Path("a.json").read_text() == Path("b.json").read_text()
    write_rows(Path("rows.jsonl"), [{"text": f"row {number}"} for number in range(4)])
    assert run("explain", model, "--input=rows.jsonl", "--limit=2") == 0, run.err
    assert re.findall(r"^row (\w+)", run.out, re.MULTILINE) == ["0", "1"]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("classification", [], "give either --text TEXT or --input FILE"),
        ("classification", ["--text=a", "--input=b"], "give either --text TEXT or --input FILE"),
        ("classification", ["--text=a", "--target=spor"], "unknown label 'spor'; did you mean '"),
        ("classification", ["--text=a", "--layers=block.0.attention"], "did you mean 'blocks.0.attention'?"),
        ("classification", ["--text=a", "--output=old.html"], "old.html already exists. Choose another file"),
        ("classification", ["--text=a", "--json=old.html"], "old.html already exists. Choose another file with --json"),
        ("classification", ["--text=a", "--output=new", "--json=new"], "--output and --json both name new"),
        ("classification", ["--input=nothing.jsonl"], "--input"),
        ("classification", ["--input=rows.jsonl"], "rows.jsonl:1"),
        ("classification", ["--text=a", "--limit=0"], "--limit 0 must be at least 1"),
        ("liking", ["--text=a", "--target=3"], "Leave the target out"),
        ("ner", ["--text=Bo sings", "--target=Bob"], "unknown word 'Bob'; did you mean 'Bo'?"),
        ("ner", ["--text=Bo sings", "--target=Bo=B-PERSON"], "unknown tag 'B-PERSON'; did you mean 'B-PER'?"),
        ("qa", ["--text=a"], "question answering needs two texts"),
        ("qa", ["--input=asked.jsonl", "--target=nobody"], "'nobody' is not in the context of the row"),
        ("causal", ["--text="], "the text is empty"),
        ("causal", [f"--text={'long ' * 40}"], "the text has 200 tokens, more than the context of the model"),
        ("causal", ["--text=a", "--target="], "the target is empty"),
        ("causal", ["--input=rows.jsonl"], "rows.jsonl:1"),
    ],
)  # fmt: skip
def test_invalid_input_is_one_message(
    kind: str, options: list[str], message: str, models: dict[str, Path], run: CommandLine
) -> None:
    write_rows(Path("rows.jsonl"), [{"body": "no text"}])
    write_rows(Path("asked.jsonl"), [{"question": "Who?", "context": "Ada"}])
    Path("old.html").write_text("taken")
    assert run("explain", str(models[kind]), *options) == 2
    assert message in run.err
    assert "Traceback" not in run.err
    assert Path("old.html").read_text() == "taken"
    assert not Path("new").exists()


def test_missing_captum_is_named_before_the_model_is_loaded(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    assert run("explain", "nowhere", "--text=a") == 2
    assert "pip install 'gpt-lightning[explain]'" in run.err


def test_long_texts_say_what_is_left_out(models: dict[str, Path], run: CommandLine) -> None:
    assert run("explain", str(models["classification"]), f"--text={'long ' * 100}", "--output=page.html") == 0
    assert "101 tokens of the text are not in this input of 400 tokens" in run.out
    assert "101 tokens of the text are not in this input of 400 tokens" in Path("page.html").read_text()


def test_messages_about_the_data_are_no_part_of_the_result(models: dict[str, Path], run: CommandLine) -> None:
    assert run("explain", str(models["classification"]), f"--text={'long ' * 100}") == 0, run.err
    assert run.out.startswith("row 0")
    assert "1 of 1 texts were truncated" in run.err


@pytest.mark.parametrize("kind", ["classification", "ner", "causal"])
def test_rows_after_the_limit_are_not_read(kind: str, models: dict[str, Path], run: CommandLine) -> None:
    rows: list[dict[str, Any]] = [{"text": "a fine day"}, {"text": "Bo sings"}, {"body": "no text"}]
    write_rows(Path("rows.jsonl"), rows)
    assert run("explain", str(models[kind]), "--input=rows.jsonl", "--limit=2") == 0, run.err
    assert re.findall(r"^row (\w+)", run.out, re.MULTILINE) == ["0", "1"]
    assert run("explain", str(models[kind]), "--input=rows.jsonl", "--limit=3") == 2
    assert "rows.jsonl:3" in run.err
    model = gl.load(models[kind], device="cpu")
    assert [each.id for each in model.explain(rows, limit=1)] == ["0"]
    for limit in (-1, 0):
        with pytest.raises(InputError, match=f"limit={limit} must be at least 1"):
            model.explain(rows, limit=limit)


def test_an_unknown_layer_is_refused_before_the_rows_are_read(models: dict[str, Path], run: CommandLine) -> None:
    assert run("explain", str(models["ner"]), "--input=nothing.jsonl", "--layers=blocks.9.attention") == 2
    assert "unknown layer of attention 'blocks.9.attention'" in run.err


def test_progress_is_shown(models: dict[str, Path], run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_lightning.evaluation.explain.explanation.progress", partial(progress, seconds=0.0))
    write_rows(Path("rows.jsonl"), [{"text": "a fine day"}, {"text": "Bo sings"}])
    assert run("explain", str(models["classification"]), "--input=rows.jsonl") == 0, run.err
    assert "Explaining row 1 ..." in run.err
    assert "Explaining row 2 ..." in run.err
