"""Growth of the time and memory of a training step, compared with the expected growth.

    python benchmarks/growth.py

One dimension of a small model grows at a time. The expected time is proportional to the floating-point operations of a
step (matrices, attention, output layer). The expected memory is that of weights, gradients, optimizer moments, and a
constant number of activations per token and block. A large fixed part makes the growth slower. An exponent is the slope
between the two largest points on logarithmic axes. Each point is a process of its own, and its time is the median of
its steps.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

BASE = {"T": 512, "n_layer": 4, "n_embd": 256, "vocab_size": 4096, "rows": 4}
AXES: dict[str, tuple[int, ...]] = {
    "T": (256, 512, 1024, 2048, 4096),
    "n_layer": (2, 4, 8, 16),
    "n_embd": (128, 256, 512, 1024),
    "vocab_size": (1024, 4096, 16384, 65536),
    "rows": (1, 2, 4, 8, 16),
}
TEXT_MB = (1, 4, 16)
STEPS = 4


def train(shape: dict[str, int]) -> dict[str, float]:
    """Return the milliseconds per step, the MB that the steps added to the process, and the expected growth of both."""
    from gpt_lightning.models import GPT, GPTConfig
    from gpt_lightning.models.lm_head import LMHead

    T, width, vocab_size, rows = (shape[name] for name in ("T", "n_embd", "vocab_size", "rows"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    config = GPTConfig(
        vocab_size=vocab_size, block_size=T, n_layer=shape["n_layer"], n_head=width // 64, n_embd=width, bias=False
    )
    backbone, head = GPT(config), LMHead(width, vocab_size)
    head.weight = backbone.token_embedding.weight
    optimizer = torch.optim.AdamW(backbone.parameters(), fused=True)
    ids = torch.randint(vocab_size, (rows, T + 1), generator=torch.Generator().manual_seed(0))
    times = [time.perf_counter()]
    for _ in range(STEPS + 1):
        head(backbone(ids[:, :-1]), ids[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
    steps = [b - a for a, b in pairwise(times[1:])]
    # Causal attention computes only half of its scores.
    attention = 12 * config.n_layer * width * T
    flops = backbone.flops_per_token() - attention / 2 + 6 * width * vocab_size
    weights = 16 * backbone.num_parameters()
    activations = 4 * rows * T * width * (17 * config.n_layer + 4)
    return {
        "ms": 1000 * statistics.median(steps),
        "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "ms expected": flops * rows * T,
        "mb expected": weights + activations,
    }


def tokenize(megabytes: int) -> dict[str, float]:
    """Return the same values for turning text into shards."""
    from gpt_lightning.data.shards import tokenize as make_shards
    from gpt_lightning.tokenizers.build import train_bpe

    words = [f"{a}{b}{c}" for a in "bdfklmnprst" for b in "aeiou" for c in ("n", "rt", "st", "l", "")]
    generator = torch.Generator().manual_seed(0)

    def text(count: int) -> str:
        return " ".join(words[int(n)] for n in torch.randint(len(words), (count,), generator=generator))

    tokenizer = train_bpe([text(20_000)], 512)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "text.txt"
        with file.open("w") as out:
            while out.tell() < megabytes * 1_000_000:
                out.write(text(20_000) + "\n")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        make_shards(str(file), split="train", text_column="text", tokenizer=tokenizer, cache_dir=Path(name))
        seconds = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"ms": 1000 * seconds, "mb": memory, "ms expected": megabytes, "mb expected": 1.0}


def point(arguments: list[str]) -> dict[str, float]:
    """Measure one point in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def rows_of(axis: str, values: tuple[int, ...], points: list[dict[str, float]]) -> str:
    """Return the time and the memory along an axis as rows of a table."""
    lines = []
    for key, unit in (("ms", "ms"), ("mb", "MB")):

        def slope(name: str) -> float:
            a, b = points[-2][name], points[-1][name]
            return math.log(max(b, 1e-9) / max(a, 1e-9)) / math.log(values[-1] / values[-2])

        found = ", ".join(f"{value:,}: {each[key]:,.0f}" for value, each in zip(values, points, strict=True))
        lines.append(
            f"| {unit} by {axis} | {found} | expected exponent {slope(key + ' expected'):.2f} | {slope(key):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure all axes, and print rows of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", type=json.loads, help="measure one point in this process")
    options = parser.parse_args()
    if options.point is not None:
        given: dict[str, Any] = options.point
        print(json.dumps(tokenize(given["text"]) if "text" in given else train(BASE | given)))
        return
    for axis, values in AXES.items():
        points = [point(["--point", json.dumps({axis: value})]) for value in values]
        print(rows_of(axis, values, points), flush=True)
    points = [point(["--point", json.dumps({"text": value})]) for value in TEXT_MB]
    print(rows_of("MB of text", TEXT_MB, points))


if __name__ == "__main__":
    main()
