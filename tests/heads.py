"""Small training runs of heads through the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_lightning.cli import main

HOSTILE = "<script>alert(1)</script> [click](javascript:alert(1)) | **x** `y`\n\n# end\n1. more"
ODD_LABEL = "<b>odd</b>|[red]"

TOPICS = [
    ("the ball is in the net", "sport"),
    ("rain and wind all day", "weather"),
    ("a goal in the last minute", "sport"),
    ("snow falls on the hills", "weather"),
    (HOSTILE, ODD_LABEL),
    ("the sun comes out", "weather"),
    ("she runs and wins", "sport"),
]

TAGS = [
    (["Anna", "lives", "in", "New", "York"], ["B-PER", "O", "O", "B-LOC", "I-LOC"]),
    (["Bob", "Stone", "sings"], ["B-PER", "I-PER", "O"]),
    (["<b>rain</b>", "in", "Rome"], ["O", "O", "B-LOC"]),
    (["no", "name", "here"], ["O", "O", "O"]),
]

CLASSES = {
    "topics": ("SequenceClassification", "TextClassification"),
    "tags": ("TokenClassification", "SequenceTagging"),
}


def write_config(folder: Path, name: str) -> Path:
    """Write the data and a YAML of the task ``topics`` or ``tags``, and return the YAML: 4 steps, 2 validations."""
    rows: list[dict[str, Any]] = (
        [{"id": f"t{number}", "text": text, "label": label} for number, (text, label) in enumerate(TOPICS)]
        if name == "topics"
        else [{"id": f"w{number}", "tokens": words, "tags": tags} for number, (words, tags) in enumerate(TAGS)]
    )
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, data = CLASSES[name]
    config = {
        "experiment": name,
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 4,
            "log_every_n_steps": 1,
            "val_check_interval": 2,
            "check_val_every_n_epoch": None,
        },
        "model": {
            "class_path": model,
            "init_args": {
                "backbone": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 128},
                "optimizer": {"lr": 0.01},
            },
        },
        "data": {
            "class_path": data,
            "init_args": {
                **dict.fromkeys(("train", "validation", "test"), f"{name}.jsonl"),
                "tokenizer": "bytes",
                "batch_size": 2,
                "cache_dir": "cache",
            },
        },
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


class CommandLine:
    """Runner of ``gpt-lightning`` commands in a folder.

    Attributes:
        out: standard output of the last command.
        err: standard error of the last command.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # monkeypatch then restores it, as runs change it
        self._capsys = capsys
        self.folder = folder
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        """Run a command and return its exit code."""
        self._capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def fit(self, name: str, *arguments: str) -> Path:
        """Train ``topics`` or ``tags``, and return the run's folder, relative to the working directory."""
        write_config(self.folder, name)
        assert self("fit", "-c", f"{name}.yaml", *arguments) == 0, self.err
        return Path("logs") / name / "version_0"
