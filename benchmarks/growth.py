"""How time and memory of a training step grow, beside how they should.

    python benchmarks/growth.py

One number of a small model grows at a time, the others stay. Time should grow as the floating-point operations of a
step do (matrices, attention, output layer), memory as what is counted: weights, gradients and moments, and for each
token as many activations in every block; either grows more slowly where a fixed part weighs. An exponent is the slope
between the two largest points on logarithmic axes. Each point is a process of its own; time is the median of its steps.
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
    """Milliseconds a step, MB that the steps took above what was there before, and the operations of one."""
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
    # Of attention's scores half are masked, and not computed.
    attention = 12 * config.n_layer * width * T
    flops = backbone.flops_per_token() - attention / 2 + 6 * width * vocab_size
    weights = 16 * backbone.num_parameters()
    activations = 4 * rows * T * width * (17 * config.n_layer + 4)
    return {
        "ms": 1000 * statistics.median(steps),
        "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "ms should": flops * rows * T,
        "mb should": weights + activations,
    }


def tokenise(megabytes: int) -> dict[str, float]:
    """The same of text that becomes shards."""
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
    return {"ms": 1000 * seconds, "mb": memory, "ms should": megabytes, "mb should": 1.0}


def point(arguments: list[str]) -> dict[str, float]:
    """One point, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def rows_of(axis: str, values: tuple[int, ...], points: list[dict[str, float]]) -> str:
    """Both numbers of an axis, as rows of a table."""
    lines = []
    for key, what in (("ms", "ms"), ("mb", "MB")):

        def slope(name: str) -> float:
            a, b = points[-2][name], points[-1][name]
            return math.log(max(b, 1e-9) / max(a, 1e-9)) / math.log(values[-1] / values[-2])

        found = ", ".join(f"{value:,}: {each[key]:,.0f}" for value, each in zip(values, points, strict=True))
        lines.append(f"| {what} by {axis} | {found} | exponent {slope(key + ' should'):.2f} | {slope(key):.2f} |")
    return "\n".join(lines)


def main() -> None:
    """All axes; rows of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", type=json.loads, help="measure one, in this process")
    options = parser.parse_args()
    if options.point is not None:
        given: dict[str, Any] = options.point
        print(json.dumps(tokenise(given["text"]) if "text" in given else train(BASE | given)))
        return
    for axis, values in AXES.items():
        points = [point(["--point", json.dumps({axis: value})]) for value in values]
        print(rows_of(axis, values, points), flush=True)
    points = [point(["--point", json.dumps({"text": value})]) for value in TEXT_MB]
    print(rows_of("MB of text", TEXT_MB, points))


if __name__ == "__main__":
    main()
