"""Time of a complete training step: text file, shards, loader, task, callbacks and TensorBoard.

    python benchmarks/train_step.py N_LAYER N_HEAD N_EMBD T B VOCAB STEPS

Compare AdamW, Muon and the peers, three times in turn, as rows of a table:

    python benchmarks/train_step.py N_LAYER N_HEAD N_EMBD T B VOCAB STEPS --peers ../shared/bench/train_step.py

With ``--gpu``, ours runs on a GPU with the default precision and compilation of a run (bfloat16, a compiled backbone).
``gpu.py`` compares it with its peers.
"""

import argparse
import importlib.util
import itertools
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.accelerators import CUDAAccelerator

from gpt_lightning.commands.run.cli import CLI
from gpt_lightning.commands.run.hidden_messages import hide_messages
from gpt_lightning.training.peak_flops import measured_flops
from gpt_lightning.training.peak_memory import peak_memory_gb

SKIP = 3  # warm-up steps
SHAPE = ("n_layer", "n_head", "n_embd", "tokens", "batch", "vocab", "steps")
LLAMA = ("position=rotary", "norm=rmsnorm", "mlp=swiglu", "bias=false")
RESULT = re.compile(r"([\d.]+) ms/step.* peak (\d+) MB(?:, MFU ([\d.]+))?")
"""Line that ours and the peers print."""


class Clock:
    """Times of steps: of each step on a CPU, of ten steps on a GPU, which works asynchronously."""

    def __init__(self, *, is_gpu: bool) -> None:
        self.every = 10 if is_gpu else 1
        self.steps = 0
        self.times: list[float] = []

    def tick(self) -> None:
        """Record the end of a step."""
        self.steps += 1
        if self.steps % self.every:
            return
        if self.every > 1:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def median(self) -> float:
        """Return the median time of a step in seconds, without the warm-up."""
        times = self.times[max(SKIP // self.every, 1) :]
        return statistics.median(b - a for a, b in pairwise(times)) / self.every


class Stamps(L.Callback):
    """Callback that records the end of each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, *_: Any) -> None:
        """Record the end of the step."""
        self.clock.tick()


class TimedCLI(CLI):
    """Command line that measures its steps."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Add the clock to the callbacks."""
        trainer = super().instantiate_trainer(**kwargs)
        self.clock = Clock(is_gpu=isinstance(trainer.accelerator, CUDAAccelerator))
        trainer.callbacks.append(Stamps(self.clock))  # type: ignore[attr-defined]
        return trainer


def ours(shape: argparse.Namespace) -> tuple[float, int, float]:
    """Train on random characters that fill the vocabulary.

    Returns:
        The median step in milliseconds, the peak memory in MB, and the model FLOPs utilization (MFU), which counts all
        matrices, attention and the output layer.
    """
    hide_messages()
    excluded = {*range(0xD800, 0xE000), 0xFFFD}  # surrogates, and the replacement character
    with tempfile.TemporaryDirectory() as folder:
        # Two ids are reserved for the end of text and the unknown character.
        codes = (code for code in range(0x4E00, 0x110000) if code not in excluded)
        characters = [chr(code) for code in itertools.islice(codes, shape.vocab - 2)]
        count = shape.batch * shape.tokens * (shape.steps + SKIP + 1) + 1
        text = "".join(characters) + "".join(random.Random(0).choices(characters, k=count))
        (Path(folder) / "text.txt").write_text(text)
        arguments = f"""fit --experiment benchmark --log_dir {folder}/logs
            --trainer.accelerator={"gpu" if shape.gpu else "cpu"}
            --trainer.max_steps={shape.steps + SKIP + 1} --trainer.max_epochs=-1 --trainer.limit_val_batches=0
            --model=CausalLM --model.backbone.n_layer={shape.n_layer} --model.backbone.n_head={shape.n_head}
            --model.backbone.n_embd={shape.n_embd} --model.backbone.block_size={shape.tokens}
            {" ".join(f"--model.backbone.{option}" for option in LLAMA if shape.llama)}
            --model.optimizer.lr=1e-3 --model.optimizer.kind={"muon" if shape.muon else "adamw"}
            --model.schedule.kind=constant
            --data=LanguageModeling --data.train={folder}/text.txt --data.tokenizer=characters
            --data.batch_size={shape.batch} --data.cache_dir={folder}/cache
            --activation_checkpointing={str(shape.activation_checkpointing).lower()}"""
        cli = TimedCLI(arguments.split())
        assert isinstance(cli.datamodule.vocab_size, int)
        assert cli.datamodule.vocab_size == shape.vocab
    seconds = cli.clock.median()
    flops = cli.model.backbone.flops_per_token() + 6 * shape.vocab * shape.n_embd
    device = torch.device("cuda" if shape.gpu else "cpu")
    memory = int(peak_memory_gb(device) * 1e9) >> 20  # in MiB, as the peers count
    peak = measured_flops(device, torch.bfloat16 if shape.gpu else torch.float32)
    return 1000 * seconds, memory, shape.batch * shape.tokens * flops / seconds / peak


def compare(shape: argparse.Namespace, peers: str, rounds: int) -> None:
    """Run ours with AdamW and with Muon, the raw loop and Hugging Face's Trainer in turn, and print rows of a table."""
    numbers = [str(getattr(shape, name)) for name in SHAPE]
    command = [sys.executable, __file__, *numbers]
    commands = {
        "ours": command,
        "Muon": [*command, "--muon"],
        "raw": [sys.executable, peers, "raw", *numbers],
        "hf": [sys.executable, peers, "hf", *numbers],
    }
    if importlib.util.find_spec("litgpt"):
        commands["litgpt"] = [sys.executable, str(Path(__file__).with_name("litgpt_peer.py")), "litgpt", *numbers]
    results = in_turn(commands, rounds)
    ms, memory = (
        {name: statistics.median(run[number] for run in runs) for name, runs in results.items()} for number in (0, 1)
    )
    utilization = statistics.median(run[2] for run in results["ours"])
    row = f"step of {shape.n_layer} layers, {shape.n_embd} wide, T {shape.tokens}, B {shape.batch}, V {shape.vocab}, ms"
    print(f"| {row} | {ms['ours']:.1f} | raw loop {ms['raw']:.1f} | {ms['raw'] / ms['ours']:.3f} |")
    print(f"| | {ms['ours']:.1f} | HF Trainer {ms['hf']:.1f} | {ms['hf'] / ms['ours']:.3f} |")
    if "litgpt" in ms:
        print(f"| | {ms['ours']:.1f} | litgpt's model, raw loop {ms['litgpt']:.1f} | {ms['litgpt'] / ms['ours']:.3f} |")
    print(f"| with Muon | {ms['Muon']:.1f} | AdamW {ms['ours']:.1f} | {ms['ours'] / ms['Muon']:.3f} |")
    print(f"| model FLOPs utilization | | | {utilization:.3f} |")
    mine, loop, other = (memory[name] for name in ("ours", "raw", "hf"))
    print(f"| peak memory, MB | {mine:.0f} | raw loop {loop:.0f} | {loop / mine:.2f} |")
    print(f"| | {mine:.0f} | HF Trainer {other:.0f} | {other / mine:.2f} |")


def in_turn(commands: dict[str, list[str]], rounds: int) -> dict[str, list[tuple[float, int, float]]]:
    """Run each command in a process of its own, for several rounds.

    Returns:
        Name -> milliseconds per step, peak memory in MB and, for ours, MFU, for each round, as the scripts print them.
    """
    results: dict[str, list[tuple[float, int, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, command in commands.items():
                command = [command[0], str(Path(command[1]).resolve()), *command[2:]]
                out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout
                found = RESULT.search(out)
                assert found, out
                results[name].append((float(found[1]), int(found[2]), float(found[3] or "nan")))
                print(f"{name}: {found[0]}", flush=True)
    return results


def main() -> None:
    """Measure ours, or compare it with the peers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SHAPE:
        parser.add_argument(name, type=int)
    parser.add_argument("--peers", help="path of the peers' train_step.py")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument("--activation_checkpointing", action="store_true", help="use activation checkpointing in ours")
    parser.add_argument("--muon", action="store_true", help="use Muon in ours")
    parser.add_argument("--llama", action="store_true", help="give ours the architecture of Llama instead of GPT-2")
    parser.add_argument("--gpu", action="store_true", help="measure ours on a GPU")
    shape = parser.parse_args()
    if shape.peers:
        compare(shape, shape.peers, shape.rounds)
        return
    median, memory, utilization = ours(shape)
    tokens = 1000 * shape.batch * shape.tokens / median
    print(f"ours: {median:.1f} ms/step, {tokens:.0f} tokens/s, peak {memory} MB, MFU {utilization:.3f}")


if __name__ == "__main__":
    main()
