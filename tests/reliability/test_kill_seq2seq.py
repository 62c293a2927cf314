"""Runs of an encoder-decoder that are killed, and resumed."""

import random
import time
from pathlib import Path

import pytest

from tests.pairs import write_lines
from tests.reliability.conftest import many, tally
from tests.reliability.processes import Run, finish, rows, state

pytestmark = pytest.mark.reliability

CONFIG = """
experiment: run
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 40
  val_check_interval: 10
  check_val_every_n_epoch: null
  limit_val_batches: 2
  log_every_n_steps: 1
  callbacks: {class_path: tests.reliability.processes.RowLog}
model:
  class_path: Seq2SeqLM
  init_args:
    backbone:
      {n_layer: 1, n_encoder_layer: 2, n_head: 2, n_embd: 16, block_size: 32, dropout: 0.1, position: sinusoidal,
       norm_placement: after_residual, mlp: relu, scale_embeddings: true}
    label_smoothing: 0.1
    optimizer: {lr: 0.01}
data:
  class_path: tests.pairs.ReversedLines
  init_args:
    train: lines.txt
    validation: lines.txt
    tokenizer: bytes
    batch_size: 4
    cache_dir: cache
checkpoints: {every_n_steps: 3}
"""


def test_run_killed_at_any_moment_resumes_exactly(tmp_path: Path) -> None:
    """Test R1 with dropout, label smoothing, shuffling and several epochs."""
    folders = [tmp_path / f"run_{number}" for number in range(1 + many(1, 10))]
    for folder in folders:
        folder.mkdir()
        write_lines(folder, 30)
        (folder / "config.yaml").write_text(CONFIG)
    finish(folders[0])
    expected, order = state(folders[0] / "logs/run/version_0"), rows(folders[0])
    assert len({epoch for epoch, _ in order}) > 1
    rng = random.Random(0)
    for folder in folders[1:]:
        run = Run(folder)
        assert run.wait_for_rows(rng.randrange(5, 35)), run.err.read_text()
        time.sleep(rng.random() * 0.02)
        run.kill()
        finish(folder, "--resume=auto")
        assert "resumed from" in (folder / "out.txt").read_text()
        tally("R1", state(folder / "logs/run/version_0") == expected and rows(folder) == order)
