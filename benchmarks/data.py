"""Cost of data loading: opening shards, making a batch compared with a training step, and shuffling.

    python benchmarks/data.py

The ten gigabytes of shards are sparse files with headers, as opening a shard reads only its header. Batches and steps
have the shapes for which the results page quotes ``train_step.py``.
"""

import argparse
import json
import pickle
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_step import SHAPE, ours
from gpt_lightning.data.loader import ResumableLoader
from gpt_lightning.data.packing import PackedBlocks
from gpt_lightning.data.permutation import Permutation
from gpt_lightning.data.shard_file import _CHUNK_BYTES, _HEADER_BYTES, ShardWriter, _pack_header
from gpt_lightning.data.shards import SHARD_TOKENS, TokenStream
from gpt_lightning.tokenizers.build import train_characters

GIGABYTES = 10
BATCHES = 200
SHAPES = ((6, 6, 384, 256, 8, 4096, 12), (4, 4, 128, 64, 12, 65, 12))
"""Values of the fields in ``SHAPE``."""


def write(folder: Path, shards: int, tokens: int) -> None:
    """Write shards of ``tokens`` random tokens each."""
    tokenizer = train_characters(["abcdefghijklmnopqrstuvwxyz"])
    writer = ShardWriter(folder, tokenizer, tokens)
    writer.write(np.random.default_rng(0).integers(2, 28, shards * tokens))
    writer.finish(num_documents=1, num_bytes=shards * tokens)


def stretch(path: Path) -> None:
    """Extend a shard to the maximum size with a hole in the file."""
    header = json.loads(path.read_bytes()[12:_HEADER_BYTES])
    header["count"] = SHARD_TOKENS
    size = SHARD_TOKENS * np.dtype(header["dtype"]).itemsize
    with path.open("r+b") as file:
        file.write(_pack_header(header))
        file.truncate(_HEADER_BYTES + size + 4 * -(-size // _CHUNK_BYTES))


def opening() -> tuple[float, int]:
    """Return the seconds to open many shards, and their size in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, GIGABYTES * 10**9 // (2 * SHARD_TOKENS) + 1, 1)
        for path in folder.iterdir():
            stretch(path)
        seconds = []
        for _ in range(9):
            start = time.perf_counter()
            stream = TokenStream(folder)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds), 2 * len(stream)


def batch_seconds(block_size: int, batch_size: int) -> float:
    """Return the median time to make one batch in this process, without workers."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 1, block_size * batch_size * (BATCHES + 1) + 1)
        stream = TokenStream(Path(name))
        sizes = np.ones(stream.vocab_size, dtype=np.int64)
        blocks = PackedBlocks(stream, block_size=block_size, token_bytes=sizes, end_of_text_id=0, seed=0)
        times = [time.perf_counter() for _ in ResumableLoader(blocks, batch_size=batch_size)]
    return statistics.median(b - a for a, b in pairwise(times))


def step_seconds(shape: tuple[int, ...]) -> float:
    """Return the median time of a complete training step of a shape."""
    options = argparse.Namespace(**dict(zip(SHAPE, shape, strict=True)))
    options.activation_checkpointing = options.muon = options.gpu = False
    return ours(options)[0] / 1000


def main() -> None:
    """Print rows of a table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    seconds, size = opening()
    print(f"| opening {size / 1e9:.1f} GB of shards, ms | {1000 * seconds:.1f} | | |", flush=True)
    sizes = [len(pickle.dumps(Permutation(size, 0))) for size in (10**6, 10**12)]
    print(f"| bytes of a permutation of 10^6 and of 10^12 rows | {sizes[0]} | {sizes[1]} | {sizes[1] / sizes[0]:.2f} |")
    for shape in SHAPES:
        layers, _, width, block_size, batch_size, *_ = shape
        batch, step = batch_seconds(block_size, batch_size), step_seconds(shape)
        row = f"a batch of {batch_size} x {block_size}, ms (step: {layers} layers, {width} wide)"
        print(f"| {row} | {1000 * batch:.3f} | {1000 * step:.1f} | {batch / step:.4f} |", flush=True)


if __name__ == "__main__":
    main()
