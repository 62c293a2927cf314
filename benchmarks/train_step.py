"""Milliseconds a training step through the whole stack: text file, shards, loader, task, callbacks, TensorBoard.

    python benchmarks/train_step.py N_LAYER N_HEAD N_EMBD T B VOCAB STEPS

With the peers in turn, three times, medians and ratios:

    python benchmarks/train_step.py N_LAYER N_HEAD N_EMBD T B VOCAB STEPS --peers ../shared/bench/train_step.py
"""

import argparse
import itertools
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L

from gpt_lightning.commands.run import CLI, quiet

SKIP = 3  # steps of warm-up that are not counted
SHAPE = ("n_layer", "n_head", "n_embd", "tokens", "batch", "vocab", "steps")


class Stamps(L.Callback):
    """The time at which each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.perf_counter())


class TimedCLI(CLI):
    """The command line, with a clock."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        trainer = super().instantiate_trainer(**kwargs)
        self.stamps = Stamps()
        trainer.callbacks.append(self.stamps)  # type: ignore[attr-defined]
        return trainer


def ours(shape: argparse.Namespace) -> float:
    """Train on random characters, as many kinds of them as the vocabulary holds; the median step in milliseconds."""
    quiet()
    left_out = {*range(0xD800, 0xE000), 0xFFFD}  # surrogates are no characters, and this one stands for the unknown
    with tempfile.TemporaryDirectory() as folder:
        # Two ids are the end of text and the unknown character.
        codes = (code for code in range(0x4E00, 0x110000) if code not in left_out)
        characters = [chr(code) for code in itertools.islice(codes, shape.vocab - 2)]
        count = shape.batch * shape.tokens * (shape.steps + SKIP + 1) + 1
        text = "".join(characters) + "".join(random.Random(0).choices(characters, k=count))
        (Path(folder) / "text.txt").write_text(text)
        arguments = f"""fit --experiment benchmark --log_dir {folder}/logs --trainer.accelerator=cpu
            --trainer.max_steps={shape.steps + SKIP + 1} --trainer.max_epochs=-1 --trainer.limit_val_batches=0
            --model=CausalLM --model.backbone.n_layer={shape.n_layer} --model.backbone.n_head={shape.n_head}
            --model.backbone.n_embd={shape.n_embd} --model.backbone.block_size={shape.tokens}
            --model.optimizer.lr=1e-3 --model.schedule.kind=constant
            --data=LanguageModeling --data.train={folder}/text.txt --data.tokenizer=characters
            --data.batch_size={shape.batch} --data.cache_dir={folder}/cache
            --activation_checkpointing={str(shape.activation_checkpointing).lower()}"""
        cli = TimedCLI(arguments.split())
        assert isinstance(cli.datamodule.vocab_size, int)
        assert cli.datamodule.vocab_size == shape.vocab
    times = cli.stamps.times
    return 1000 * statistics.median(b - a for a, b in zip(times[SKIP:], times[SKIP + 1 :], strict=False))


def compare(shape: argparse.Namespace, peers: str, rounds: int = 3) -> None:
    """Run ours, the raw loop and Hugging Face's Trainer in turn; print medians and ratios."""
    numbers = [str(getattr(shape, name)) for name in SHAPE]
    commands = {
        "gpt_lightning": [sys.executable, __file__, *numbers],
        "raw loop": [sys.executable, peers, "raw", *numbers],
        "HF Trainer": [sys.executable, peers, "hf", *numbers],
    }
    results = {name: [milliseconds for milliseconds, _ in each] for name, each in in_turn(commands, rounds).items()}
    mine = statistics.median(results["gpt_lightning"])
    for name, values in results.items():
        median = statistics.median(values)
        print(f"{name}: median {median:.1f} ms/step; ours is {mine / median:.3f} of it")


def in_turn(commands: dict[str, list[str]], rounds: int) -> dict[str, list[tuple[float, int]]]:
    """Run each command in a process of its own, one after the other, again and again.

    Returns:
        Milliseconds a step and MB at the peak, a pair for each round, as the scripts print them.
    """
    results: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, command in commands.items():
                command = [command[0], str(Path(command[1]).resolve()), *command[2:]]
                out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout
                found = re.search(r"([\d.]+) ms/step.* peak (\d+) MB", out)
                assert found, out
                results[name].append((float(found[1]), int(found[2])))
                print(f"{name}: {found[0]}", flush=True)
    return results


def main() -> None:
    """Measure ours, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SHAPE:
        parser.add_argument(name, type=int)
    parser.add_argument("--peers", help="path of the peers' train_step.py")
    parser.add_argument("--activation_checkpointing", action="store_true", help="for ours")
    shape = parser.parse_args()
    if shape.peers:
        compare(shape, shape.peers)
        return
    median = ours(shape)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"ours: {median:.1f} ms/step, {1000 * shape.batch * shape.tokens / median:.0f} tokens/s, peak {memory} MB")


if __name__ == "__main__":
    main()
