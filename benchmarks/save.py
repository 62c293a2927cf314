"""Time that saving a checkpoint blocks training, compared with plain ``torch.save``, and rate of verification.

The checksum is computed while training continues, at the rate of verification.

    python benchmarks/save.py [MEGABYTES] [FOLDER]
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gpt_lightning.checkpoints import manifest
from gpt_lightning.checkpoints.torch_files import CheckpointFiles

ROUNDS = 9


def timed(function: Callable[[], Any]) -> float:
    """Return the duration of a call in seconds."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main() -> None:
    """Save with and without checks and atomic renaming in turn, and print medians and ratios."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        # A few large tensors and many small ones, as in a model and its optimizer.
        tensors = {f"large.{n}": torch.randn(megabytes * 25_000) for n in range(10)}
        tensors |= {f"small.{n}": torch.randn(500) for n in range(100)}
        checkpoint = {"global_step": 1, "state_dict": tensors}
        files, ours, plain = CheckpointFiles(), folder / "step_1.ckpt", folder / "plain.ckpt"

        def save_plainly() -> None:
            with plain.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())

        def save() -> None:
            # The manifest first names the file as one that the next process may delete if this one is killed.
            manifest.Manifest(unlisted=(ours.name,)).write(folder)
            files.save_checkpoint(checkpoint, ours)

        saved, written = [], []
        for _ in range(ROUNDS):
            written.append(timed(save_plainly))
            plain.unlink()
            saved.append(timed(save))
        manifest.Manifest((manifest.entry_of(ours),)).write(folder)
        verified = timed(lambda: manifest.verify(ours))
    a, b = statistics.median(saved), statistics.median(written)
    print(f"{megabytes} MB: saved in {a:.3f} s, torch.save in {b:.3f} s, ratio {a / b:.2f}")
    print(f"verified in {verified:.3f} s, {megabytes / 1000 / verified:.2f} GB/s")


if __name__ == "__main__":
    main()
