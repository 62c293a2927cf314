"""Tests of ``make gpu`` without a GPU: a part that fails or has no time becomes a row, and loses no other row."""

from pathlib import Path

import pytest
import torch

from benchmarks import gpu


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu.Table:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 1")
    return gpu.Table(tmp_path / "GPU.md", minutes=1)


def test_the_table_names_the_card_and_has_ratios(table: gpu.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"benchmarks/train_step.py": 40.0, "raw": 30.0, "hf": 50.0}

    def run(*command: str) -> str:
        name = next(each for each in command if each in times)
        return f"{name}: {times[name]} ms/step, 9 tokens/s, peak 8000 MB"

    monkeypatch.setattr(table, "run", run)
    gpu.compare(table, "GPT", (), rounds=1)
    assert table.file.read_text().splitlines()[0] == "# Card 1"
    assert table.file.read_text().splitlines()[-3:] == [
        "| GPT, gpt_lightning | 40.0 ms per step | 1.00 | 8.0 |",
        "| GPT, plain compiled loop | 30.0 ms per step | 0.75 | 8.0 |",
        "| GPT, HF Trainer | 50.0 ms per step | 1.25 | 8.0 |",
    ]


def test_a_part_that_fails_is_a_row(table: gpu.Table) -> None:
    gpu.test(table, "tests", "--no-such-option")
    assert "| tests | failed: " in table.file.read_text()


def test_a_part_without_time_is_a_row(table: gpu.Table) -> None:
    table.end = 0
    with table.part("long"):
        table.run("-c", "import time; time.sleep(9)")
    assert "| long | no time left |" in table.file.read_text()


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch finds no GPU"):
        gpu.main()
