"""Start-up time of ``--help`` and of a run up to its first training step.

    python benchmarks/start.py [PYTHON ...] [--rounds 5]

The run is ``configs/pretrain_toy_world.yaml`` on text that is tokenized already. Each PYTHON is the interpreter of an
environment that contains the package; the default is the current one. torchmetrics imports parts of scipy and, if
installed, transformers, which takes as long as importing torch.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "configs" / "pretrain_toy_world.yaml"
COUNT = "import importlib.metadata; print(len(list(importlib.metadata.distributions())))"


def seconds(python: str, arguments: list[str], cwd: Path) -> float:
    """Return the wall time of one command."""
    start = time.perf_counter()
    subprocess.run([python, "-m", "gpt_lightning", *arguments], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print medians as rows of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", type=Path, default=[Path(sys.executable)])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The time is that of the whole process, including the work after its only step.
        fit = ["fit", "-c", str(CONFIG), "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
        fit += ["--trainer.enable_checkpointing=false", "--samples.prompts=[]"]
        for python in (
            str(each.absolute()) for each in options.pythons
        ):  # resolving the link would leave the environment
            packages = subprocess.run([python, "-c", COUNT], capture_output=True, text=True, check=True).stdout.strip()
            helps = statistics.median(seconds(python, ["--help"], folder) for _ in range(options.rounds))
            print(f"| `--help`, {packages} packages installed, s | {helps:.2f} | | |", flush=True)
            seconds(python, ["toy-world", "data/toy_world"], folder)
            seconds(python, fit, folder)
            steps = statistics.median(seconds(python, fit, folder) for _ in range(options.rounds))
            print(f"| `fit` on the toy world up to its first step, s | {steps:.2f} | | |", flush=True)


if __name__ == "__main__":
    main()
