"""Peak memory and time of a training step with a large vocabulary, compared with Hugging Face's Trainer.

    python benchmarks/memory.py N_LAYER N_HEAD N_EMBD T B VOCAB STEPS --peers ../shared/bench/train_step.py

Ours runs with and without activation checkpointing. Each run is a process of its own, and the peak is that of its whole
memory. The runs alternate, and the results are medians.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_step import SHAPE, in_turn


def main() -> None:
    """Measure, and print rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SHAPE:
        parser.add_argument(name)
    parser.add_argument("--peers", required=True, help="path of the peers' train_step.py")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    numbers = [getattr(options, name) for name in SHAPE]
    ours = [sys.executable, str(Path(__file__).with_name("train_step.py")), *numbers]
    commands = {
        "gpt_lightning": ours,
        "with activation checkpointing": [*ours, "--activation_checkpointing"],
        "HF Trainer": [sys.executable, options.peers, "hf", *numbers],
    }
    results = in_turn(commands, options.rounds)
    ms, memory = (
        {name: statistics.median(run[number] for run in runs) for name, runs in results.items()} for number in (0, 1)
    )
    shape = f"{options.n_layer} layers, {options.n_embd} wide, T {options.tokens}, B {options.batch}, V {options.vocab}"
    for name in list(commands)[:2]:
        for unit, values in (("peak memory, MB", memory), ("ms per step", ms)):
            mine, other = values[name], values["HF Trainer"]
            print(f"| {shape}, {name}: {unit} | {mine:,.0f} | HF Trainer {other:,.0f} | {other / mine:.2f} |")


if __name__ == "__main__":
    main()
