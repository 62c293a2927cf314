"""``inspect``: exit codes, and every shipped configuration."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_lightning.cli import main
from tests.test_configs import CONFIGS, MODULES, ON_PUBLISHED, publish

SPLITS = {"train": range(8), "validation": range(8, 12), "test": range(12, 16)}
"""Split -> numbers of its rows, which differ from those of other splits."""
ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "LanguageModeling": lambda n: {"text": f"The story number {n} is about Anna. " * 40},
    "TextClassification": lambda n: {"text": f"text {n}", "label": "ab"[n % 2]},
    "TextRegression": lambda n: {"text": f"text {n}", "label": n / 4},
    "SequenceTagging": lambda n: {"tokens": [f"Anna{n}", "sleeps"], "tags": ["B-PER", "O"]},
    "ReadingComprehension": lambda n: {
        "question": f"Who is number {n}?",
        "context": "Bob is here.",
        "answers": [{"text": "Bob", "answer_start": 0}] if n % 2 else [],
    },
    "InstructionTuning": lambda n: {"prompt": f"How many are {n}?", "completion": f"They are {n}."},
    "TextToText": lambda n: {"prompt": f"How many are {n}?", "completion": f"They are {n}."},
}
"""Data module -> function of a number that returns a row."""


def row(module: str, arguments: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a row with the columns that the arguments of a data module name."""
    found = ROWS[module](number)
    if arguments.get("template"):
        columns = dict.fromkeys(re.findall(r"{(\w+)}", arguments["template"]), found["prompt"])
        found = columns | {arguments["target"]: found["completion"]}
    for key in ("text_column", "label_column"):
        if key in arguments:
            found[arguments[key]] = found.pop(key.removesuffix("_column"))
    if "text_columns" in arguments:
        found |= dict.fromkeys(arguments["text_columns"], found.get("text"))
    return found


def write_splits(folder: Path, module: str, arguments: dict[str, Any]) -> list[str]:
    """Write rows for a data module, and return the flags that name them."""
    for split, numbers in SPLITS.items():
        lines = (json.dumps(row(module, arguments, number)) + "\n" for number in numbers)
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return [f"--data.{split}={split}.jsonl" for split in SPLITS]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # removed at the end, also if inspect sets it
    return tmp_path


def inspect(*arguments: str) -> int:
    classes = ("--model=SequenceClassification", "--data=TextClassification")
    return main(["inspect", *classes, *arguments, "--data.tokenizer=bytes", "--data.cache_dir=cache"])


def test_every_shipped_configuration_is_inspected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(folder / "smollm2")
    inspected = 0
    for name, module in MODULES.items():
        arguments = yaml.safe_load((CONFIGS / name).read_text())["data"]["init_args"]
        flags = write_splits(folder, module, arguments)
        tokenizer = [] if name in ON_PUBLISHED else ["--data.tokenizer=bytes"]
        code = main(["inspect", "-c", str(CONFIGS / name), "--data.cache_dir=cache", *tokenizer, *flags])
        out, err = capsys.readouterr()
        assert code == 0, f"{name}: {out}{err}"
        assert out.splitlines()[-1].startswith("no problem found"), name
        assert [line for line in SPLITS if f"\n{line}: " in f"\n{out}"] == [*SPLITS], name
        assert out.count("  row ") >= 6, f"{name}: rows of each split"
        inspected += 1
    assert inspected == len(list(CONFIGS.glob("*.yaml"))) >= 33
    assert not Path("logs").exists(), "no run folder is created"


def test_a_problem_is_a_failure_and_names_its_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = write_splits(folder, "TextClassification", {})
    with (folder / "validation.jsonl").open("a") as file:
        file.write(json.dumps({"text": "other", "label": "c"}) + "\n")
    assert inspect(*flags) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("problem: validation: validation.jsonl:5: invalid row: the label 'c' is not one of")
    assert lines[-1] == "1 problem"


def test_a_page_is_written_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*write_splits(folder, "TextClassification", {}), "--output", "page.html"]
    assert inspect(*flags) == 0
    page = (folder / "page.html").read_text()
    assert "train.jsonl:" in page
    assert inspect(*flags) == 2
    assert "page.html already exists" in capsys.readouterr().err
    assert inspect(*flags, "--overwrite", "--rows=0") == 0
    assert "train.jsonl:" not in (folder / "page.html").read_text()


def test_test_data_on_the_hub_is_not_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("it is not for training"))
    flags = write_splits(folder, "TextClassification", {})
    assert inspect(*flags, "--data.test=hub:someone/reviews") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "inspect -c FILE"),
        (["-c", "nope.yaml"], "nope.yaml: the file does not exist"),
        (["--model=SequenceClassification", "--data=TextClassification"], "there is no train data"),
        (["--model=CausalLM", "--data=TextClassification", "--data.train=x.jsonl"], "cannot be combined"),
        (
            ["--model=SequenceClassification", "--data=TextClassification", "--data.train=empty.jsonl"],
            "empty.jsonl: the file is empty",
        ),
        (["--model=os.system", "--data=TextClassification"], "os.system would import os, which is not allowed"),
        (["--rows=-1"], "--rows -1 must be from 0 to 100"),
        (["-c", "toy_world_ner", "--output=page.txt"], "must end in .html"),
    ],
)
def test_invalid_input_is_one_message(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.jsonl").touch()
    assert main(["inspect", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
