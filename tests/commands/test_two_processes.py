"""Training on two processes, started from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from tests.commands.run.test_cli import CONFIG
from tests.reliability.processes import Run
from tests.runs import write_text

# No dropout, and an eps so large that AdamW does not turn rounding noise in a gradient into a full step.
STEADY = ("--model.backbone.dropout=0", "--model.optimizer.eps=1e-3")

MULTI_LABEL = """
experiment: rain
trainer: {max_steps: 6, accelerator: cpu, val_check_interval: 2, check_val_every_n_epoch: null}
model:
  class_path: SequenceClassification
  init_args:
    multi_label: true
    tune_thresholds: true
    backbone: {n_layer: 1, n_head: 2, n_embd: 16, block_size: 16}
    optimizer: {lr: 0.01}
data:
  class_path: TextClassification
  init_args: {train: rows.jsonl, validation: rows.jsonl, tokenizer: bytes, cache_dir: cache}
"""


def fit_in_new_processes(folder: Path, *arguments: str) -> str:
    """Train as from a shell, and return the output. The first rank starts the second one with the same command."""
    command = [sys.executable, "-m", "gpt_lightning", "fit", "-c", "config.yaml", *STEADY, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fit(folder: Path, *arguments: str) -> None:
    """Train in forked processes, which start fast."""
    run = Run(folder, *STEADY, *arguments)
    assert run.end() == 0, run.err.read_text()


def test_two_processes_are_one_run(tmp_path: Path) -> None:
    """Two processes write one folder and one summary, and reach the weights of one process with twice the batch."""
    write_text(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    out = fit_in_new_processes(tmp_path, "--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2")
    assert out.count("best: logs/beer/version_0/checkpoints/step_") == 1
    assert out.count("\nstep 2/4: val/loss ") == 1, "one rank shows the progress"
    fit(tmp_path, "--data.batch_size=4")
    assert {path.name for path in (tmp_path / "logs" / "beer").iterdir()} == {"version_0", "version_1"}
    two, one = (
        read_checkpoint(find_checkpoint(str(tmp_path / "logs" / "beer" / version), "last"))
        for version in ("version_0", "version_1")
    )
    for name, value in one["state_dict"].items():
        assert two["state_dict"][name].numpy() == pytest.approx(value.numpy(), abs=1e-5), name
    best = [checkpoint["callbacks"]["Checkpoints"]["best_score"] for checkpoint in (one, two)]
    assert best[0] == pytest.approx(best[1], rel=1e-5)


def test_two_processes_tune_the_thresholds_of_one(tmp_path: Path) -> None:
    """The thresholds are chosen on the validation rows of both ranks, and each rank gets the same."""
    words = {"rain": "wet", "cold": "snow", "odd": "s"}
    rows = [
        {"text": text, "label": [name for name, word in words.items() if word in text]}
        for text in ("wet day", "snow", "wet snow", "sun", "wet street", "nothing", "snow and sun", "a wet one", "ice")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "config.yaml").write_text(MULTI_LABEL)
    fit(tmp_path, "--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2")
    fit(tmp_path, "--data.batch_size=4")
    two, one = (
        read_checkpoint(find_checkpoint(str(tmp_path / "logs" / "rain" / version), "last"))["hyper_parameters"]
        for version in ("version_0", "version_1")
    )
    assert two["thresholds"] == pytest.approx(one["thresholds"], abs=1e-4)
    assert len(set(one["thresholds"].values()) - {0.5}) > 1
