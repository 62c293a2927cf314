"""Text pairs: a run, its predictions by command and from Python, its export, and ``init``."""

import json
from pathlib import Path

import pytest
from transformers import pipeline

import gpt_lightning as gl
from tests.heads import CommandLine, write_config

NAMES = ["Anna", "Bob", "Carla", "Dan"]
ROWS = [
    {
        "premise": f"{name} lives in Rome and likes the rain{' very much' * number}.",
        "hypothesis": f"{other} lives in Rome.",
        "label": "yes" if name == other else "no",
    }
    for number, name in enumerate(NAMES)
    for other in (name, NAMES[number - 1])
]
PAIR = "--data.text_columns=[premise,hypothesis]"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command = CommandLine(tmp_path, monkeypatch, capsys)
    write_config(tmp_path, "topics")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return command


def test_every_command_reads_pairs(run: CommandLine) -> None:
    sources = [f"--data.{split}=pairs.jsonl" for split in ("train", "validation", "test")]
    shape = [f"--model.backbone.{each}" for each in ("position=rotary", "norm=rmsnorm", "mlp=swiglu", "bias=false")]
    assert run("fit", "-c", "topics.yaml", PAIR, *sources, *shape, "--model.pooling=last") == 0, run.err
    folder = "logs/topics/version_0"
    assert run("test", "--ckpt_path", folder, "--data.test=pairs.jsonl", "--data.cache_dir=cache") == 0, run.err
    assert run("predict", "--model", folder, "--input=pairs.jsonl", "--output=out.jsonl") == 0, run.err
    records = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert gl.load(folder, device="cpu").predict(ROWS) == records
    assert run("export", folder, "model") == 0, run.err
    assert "only gpt-lightning" not in run.out
    pipe = pipeline("text-classification", "model", device="cpu", top_k=None)
    answers = pipe([{"text": row["premise"], "text_pair": row["hypothesis"]} for row in ROWS], batch_size=8)
    found = gl.load("model", device="cpu").predict(ROWS)
    for answer, record, other in zip(answers, records, found, strict=True):
        scores = {each["label"]: each["score"] for each in answer}
        assert record["scores"] == pytest.approx(scores, abs=1e-5)
        assert other["scores"] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("columns", ["[premise]", "[premise,premise]", "[a,b,c]"])
def test_other_numbers_of_columns_are_refused(run: CommandLine, columns: str) -> None:
    assert run("fit", "-c", "topics.yaml", f"--data.text_columns={columns}") == 2
    assert "must be two columns, such as [premise, hypothesis]" in run.err


def test_a_block_without_room_for_text_is_refused(run: CommandLine) -> None:
    code = run("fit", "-c", "topics.yaml", PAIR, "--data.train=pairs.jsonl", "--model.backbone.block_size=2")
    assert code == 2
    assert "block_size=2 leaves no room for text next to the 2 tokens" in run.err


def test_init_recognizes_pairs(run: CommandLine) -> None:
    assert run("init", "classification", "--train", "pairs.jsonl") == 0, run.err
    assert "text_columns: [premise, hypothesis]" in run.out
