"""Time of a training step of GPT-2 on a GPU: a plain PyTorch loop, and Hugging Face's Trainer.

    python benchmarks/gpu_peers.py raw|hf N_LAYER N_HEAD N_EMBD T B VOCAB STEPS

Both use the usual settings on a GPU: bfloat16 autocast, compilation, fused AdamW, gradient clipping. ``train_step.py
--gpu`` calls this script.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.train_step import SHAPE, SKIP, Clock


class Block(nn.Module):
    """Transformer block of GPT-2."""

    def __init__(self, n_head: int, n_embd: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.norm_1, self.norm_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.qkv, self.proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU("tanh"), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states: (B, T, C) -> (B, T, C)."""
        heads = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True)
        x = x + self.proj(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_2(x))  # type: ignore[no-any-return]


class GPT2(nn.Module):
    """GPT-2 with the loss, which keeps all logits in memory."""

    def __init__(self, shape: argparse.Namespace) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab, shape.n_embd)
        self.positions = nn.Parameter(torch.zeros(shape.tokens, shape.n_embd))
        self.blocks = nn.Sequential(*(Block(shape.n_head, shape.n_embd) for _ in range(shape.n_layer)))
        self.norm = nn.LayerNorm(shape.n_embd)
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy: two (B, T) int64 -> ()."""
        hidden = self.norm(self.blocks(self.tokens(ids) + self.positions))
        return F.cross_entropy((hidden @ self.tokens.weight.T).flatten(0, 1), labels.flatten())


def raw(shape: argparse.Namespace, rows: Tensor, clock: Clock) -> None:
    """Train with a minimal loop."""
    model = GPT2(shape).cuda()
    compiled = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for batch in torch.split(rows.pin_memory(), shape.batch):
        batch = batch.cuda(non_blocking=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = compiled(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.tick()


def hf(shape: argparse.Namespace, rows: Tensor, clock: Clock) -> None:
    """Train ``GPT2LMHeadModel`` with Hugging Face's Trainer."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    class Stamp(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            clock.tick()

    dropouts = {f"{name}_pdrop": 0.0 for name in ("resid", "embd", "attn")}
    config = GPT2Config(
        n_positions=shape.tokens,
        vocab_size=shape.vocab,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        **dropouts,
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=shape.batch,
            max_steps=len(rows) // shape.batch,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            bf16=True,
            torch_compile=True,
            learning_rate=1e-3,
        )
        data = [{"input_ids": row[:-1], "labels": row[:-1]} for row in rows]
        Trainer(GPT2LMHeadModel(config), arguments, train_dataset=data, callbacks=[Stamp()]).train()


def main() -> None:
    """Print one line in the format of ``train_step.py``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("raw", "hf"))
    for name in SHAPE:
        parser.add_argument(name, type=int)
    shape = parser.parse_args()
    torch.manual_seed(0)
    rows = torch.randint(shape.vocab, (shape.batch * (shape.steps + SKIP + 1), shape.tokens + 1))
    clock = Clock(is_gpu=True)
    {"raw": raw, "hf": hf}[shape.peer](shape, rows, clock)
    seconds = clock.median()
    speed, memory = shape.batch * shape.tokens / seconds, torch.cuda.max_memory_allocated() >> 20
    print(f"{shape.peer}: {1000 * seconds:.1f} ms/step, {speed:.0f} tokens/s, peak {memory} MB")


if __name__ == "__main__":
    main()
