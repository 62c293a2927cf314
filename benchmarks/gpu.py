"""Checks and timings that need a GPU, in at most eight minutes: ``make gpu``.

    python benchmarks/gpu.py [--minutes 8] [--rounds 1] [--output benchmarks/GPU.md]

The parts run in the order of their importance: compiled backbones against uncompiled ones, the time of a training step
of GPT-2 124M and of a Llama-shaped 124M against a plain compiled loop and Hugging Face's Trainer (transformers and
accelerate must be installed), and the other tests of ``tests/test_gpu.py``. The table names the GPU. It is written
after each part, so that an interrupted run loses nothing. A part that does not fit into the time is listed as such.
"""

import argparse
import contextlib
import importlib.metadata
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_step import RESULT

ROOT = Path(__file__).parents[1]
TESTS = "tests/test_gpu.py"
COMPILED = "compiled_backbone"
"""Part of the name of the tests that must run first."""
ARGUMENTS = ("12", "12", "768", "1024", "16", "50304", "60")
"""Layers, heads, width, T, B, vocabulary and steps of both models."""
MODELS: dict[str, tuple[str, ...]] = {"GPT-2 124M": (), "Llama-shaped 124M": ("--llama",)}


class Table:
    """Markdown table with a row for each part, and the time that is left.

    Args:
        file: file to write after each row.
        minutes: time for all parts.
    """

    def __init__(self, file: Path, minutes: float) -> None:
        self.file, self.end = file, time.monotonic() + 60 * minutes
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "lightning"))
        self.lines = [
            f"# {torch.cuda.get_device_name()}",
            "",
            f"{versions}. A batch is 16 rows of 1,024 tokens in bfloat16; medians of steps.",
            "",
            "| what | result | ratio to gpt_lightning | peak memory, GB |",
            "|---|---:|---:|---:|",
        ]

    def add(self, what: str, result: str, ratio: str = "", memory: str = "") -> None:
        """Add a row, print it, and write the file."""
        self.lines.append(f"| {what} | {result} | {ratio} | {memory} |")
        print(self.lines[-1], flush=True)
        self.file.write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    def run(self, *command: str) -> str:
        """Run a command of this repository, and return its output or the reason why there is none.

        Raises:
            PartError: it fails, or the time is over.
        """
        line = [sys.executable, *command]
        try:
            seconds = max(self.end - time.monotonic(), 1)
            done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise PartError("no time left") from None
        if done.returncode:
            print(done.stdout + done.stderr, file=sys.stderr, flush=True)
            raise PartError(f"failed: {(done.stdout + done.stderr).strip().splitlines()[-1][:200]}")
        return done.stdout

    @contextlib.contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Add a row with the reason if the block fails."""
        try:
            yield
        except PartError as error:
            self.add(what, str(error))


class PartError(Exception):
    """Part without a result."""


def test(table: Table, what: str, *options: str) -> None:
    """Run some of the tests, and add a row with the number that passed."""
    with table.part(what):
        table.add(what, table.run("-m", "pytest", "-q", TESTS, *options).strip().splitlines()[-1].strip("= "))


def compare(table: Table, model: str, options: tuple[str, ...], rounds: int) -> None:
    """Time the steps of ours and of the peers in turn, and add a row for each."""
    commands = {
        "gpt_lightning": ("benchmarks/train_step.py", *ARGUMENTS, "--gpu", *options),
        "plain compiled loop": ("benchmarks/gpu_peers.py", "raw", *ARGUMENTS, *options),
        "HF Trainer": ("benchmarks/gpu_peers.py", "hf", *ARGUMENTS, *options),
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    ours = results["gpt_lightning"]
    for number in range(rounds):
        for name, command in commands.items():
            with table.part(f"{model}, {name}"):
                found = RESULT.search(table.run(*command))
                assert found
                results[name].append((float(found[1]), float(found[2]) / 1000))
            if number == rounds - 1 and ours and results[name]:
                ms, memory = (statistics.median(run[column] for run in results[name]) for column in (0, 1))
                ratio = ms / statistics.median(run[0] for run in ours)
                table.add(f"{model}, {name}", f"{ms:.1f} ms per step", f"{ratio:.2f}", f"{memory:.1f}")


def main() -> None:
    """Run all parts, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all parts")
    parser.add_argument("--rounds", type=int, default=1, help="number of rounds of the comparison")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "GPU.md", help="file to write")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu.py: torch finds no GPU. Run it on a machine with one, and with a torch built for CUDA")
    table = Table(options.output, options.minutes)
    test(table, "tests: a compiled backbone has the same losses", "-k", COMPILED)
    for model, shape in MODELS.items():
        compare(table, model, shape, options.rounds)
    # The other tests do not measure time, so several may share the GPU.
    test(table, "tests: everything else", "-k", f"not {COMPILED}", "-n", "4")


if __name__ == "__main__":
    main()
