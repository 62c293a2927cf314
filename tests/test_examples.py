"""Tests that run the programs in ``examples/`` with few steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, name: str, *arguments: str) -> str:
    """Run an example in ``folder`` and return its standard output."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_train_then_fine_tune(tmp_path: Path) -> None:
    out = run(tmp_path, "train_from_python.py", "--max_steps=4")
    assert "Model(CausalLM, " in out
    assert "bits per byte" in out
    out = run(tmp_path, "fine_tune_and_predict.py", "--max_epochs=1")
    assert "torch.Size([1, 64])" in out
    assert "wrote sentiment_model" in out


@pytest.mark.slow
def test_a_head_of_your_own(tmp_path: Path) -> None:
    out = run(tmp_path, "head_of_your_own.py", "--max_epochs=1")
    assert "[{'id': '0', 'text': 'The match ended in a draw.', 'label': " in out


def test_every_example_is_run() -> None:
    source = Path(__file__).read_text()
    files = [path.name for path in EXAMPLES.glob("*.py")]
    assert len(files) == 3
    assert all(f'"{name}"' in source for name in files)
