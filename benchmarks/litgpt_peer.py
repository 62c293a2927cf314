"""Time of a training step of litgpt's model in GPT-2's shape, without learned positions, which litgpt does not have.

    python benchmarks/litgpt_peer.py litgpt N_LAYER N_HEAD N_EMBD T B VOCAB STEPS

A plain loop on a CPU: fused AdamW, gradient clipping, all logits in memory. ``train_step.py --peers`` calls this script
if litgpt is installed (``pip install --no-deps litgpt``).
"""

import argparse
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.nn.functional as F
from litgpt.config import Config
from litgpt.model import GPT
from torch import nn

from benchmarks.train_step import SHAPE, SKIP, Clock


def main() -> None:
    """Train on random tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["litgpt"])
    for name in SHAPE:
        parser.add_argument(name, type=int)
    shape = parser.parse_args()
    config = Config(
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        block_size=shape.tokens,
        vocab_size=shape.vocab,
        padded_vocab_size=shape.vocab,
        rotary_percentage=0.0,
        parallel_residual=False,
        gelu_approximate="tanh",
    )
    model = GPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    clock = Clock(is_gpu=False)
    for rows in torch.randint(shape.vocab, (shape.steps + SKIP + 1, shape.batch, shape.tokens + 1)):
        logits = model(rows[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick()
    median, peak = 1000 * clock.median(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"litgpt: {median:.1f} ms/step, {1000 * shape.batch * shape.tokens / median:.0f} tokens/s, peak {peak} MB")


if __name__ == "__main__":
    main()
