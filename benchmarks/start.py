"""How long it takes until something happens: ``--help``, and the first training step of a run.

    python benchmarks/start.py [--rounds 5]

The run is that of ``configs/pretrain_toy_world.yaml``, its text tokenised before.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "configs" / "pretrain_toy_world.yaml"
COMMAND = (sys.executable, "-m", "gpt_lightning")


def seconds(arguments: list[str], cwd: Path) -> float:
    """Wall time of one command."""
    start = time.perf_counter()
    subprocess.run([*COMMAND, *arguments], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Medians; rows of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        helps = statistics.median(seconds(["--help"], folder) for _ in range(rounds))
        print(f"| `--help`, s | {helps:.2f} | | |", flush=True)
        seconds(["toy-world", "data/toy_world"], folder)
        # Process to process: what comes after the only step is a part of it too.
        fit = ["fit", "-c", str(CONFIG), "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
        fit += ["--trainer.enable_checkpointing=false", "--samples.prompts=[]"]
        seconds(fit, folder)
        steps = statistics.median(seconds(fit, folder) for _ in range(rounds))
        print(f"| `fit` on the toy world up to its first step, s | {steps:.2f} | | |")


if __name__ == "__main__":
    main()
