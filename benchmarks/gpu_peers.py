"""Time of a training step of GPT-2 or Llama on a GPU: a plain PyTorch loop, and Hugging Face's Trainer.

    python benchmarks/gpu_peers.py raw|hf N_LAYER N_HEAD N_EMBD T B VOCAB STEPS [--llama]

Both use the usual settings on a GPU: bfloat16 autocast, compilation, fused AdamW, gradient clipping. ``gpu.py`` calls
this script.
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
    """Transformer block of GPT-2, or of Llama without biases (RMSNorm, rotary positions, SwiGLU)."""

    def __init__(self, shape: argparse.Namespace) -> None:
        super().__init__()
        width, is_llama = shape.n_embd, shape.llama
        norm = nn.RMSNorm if is_llama else nn.LayerNorm
        inner = inner_width(shape)
        self.n_head, self.is_llama = shape.n_head, is_llama
        self.norm_1, self.norm_2 = norm(width), norm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width, not is_llama), nn.Linear(width, width, not is_llama)
        self.up, self.down = (
            nn.Linear(width, inner * (1 + is_llama), not is_llama),
            nn.Linear(inner, width, not is_llama),
        )

    def forward(self, x: Tensor, rotations: tuple[Tensor, Tensor]) -> Tensor:
        """Return the hidden states: (B, T, C) -> (B, T, C), with the cosines and sines of the angles, (T, D)."""
        q, k, v = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)
        if self.is_llama:
            q, k = (rotated(each, *rotations).to(v.dtype) for each in (q, k))
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        y = self.up(self.norm_2(x))
        if self.is_llama:
            gate, y = y.chunk(2, -1)
            return x + self.down(F.silu(gate) * y)  # type: ignore[no-any-return]
        return x + self.down(F.gelu(y, approximate="tanh"))  # type: ignore[no-any-return]


class LanguageModel(nn.Module):
    """GPT-2 or Llama with the loss, which keeps all logits in memory."""

    def __init__(self, shape: argparse.Namespace) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab, shape.n_embd)
        self.positions = None if shape.llama else nn.Parameter(torch.zeros(shape.tokens, shape.n_embd))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.norm = (nn.RMSNorm if shape.llama else nn.LayerNorm)(shape.n_embd)
        half = shape.n_embd // shape.n_head // 2
        angles = torch.outer(torch.arange(shape.tokens), 10_000.0 ** -(torch.arange(half) / half)).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy: two (B, T) int64 -> ()."""
        hidden = self.tokens(ids)
        if self.positions is not None:
            hidden = hidden + self.positions
        for block in self.blocks:
            hidden = block(hidden, (self.cos, self.sin))
        return F.cross_entropy((self.norm(hidden) @ self.tokens.weight.T).flatten(0, 1), labels.flatten())


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs of channels i and i + D/2: (B, H, T, D) -> (B, H, T, D)."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def inner_width(shape: argparse.Namespace) -> int:
    """Return the hidden width of the MLP; that of Llama is two thirds, rounded up to a multiple of 64."""
    width = int(shape.n_embd)
    return -(-8 * width // 192) * 64 if shape.llama else 4 * width


def raw(shape: argparse.Namespace, rows: Tensor, clock: Clock) -> None:
    """Train with a minimal loop."""
    model = LanguageModel(shape).cuda()
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
    """Train Hugging Face's model with its Trainer."""
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Stamp(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            clock.tick()

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
        model = AutoModelForCausalLM.from_config(hf_config(shape))
        Trainer(model, arguments, train_dataset=data, callbacks=[Stamp()]).train()


def hf_config(shape: argparse.Namespace) -> Any:
    """Return Hugging Face's configuration of the model, without dropout."""
    from transformers import GPT2Config, LlamaConfig

    if shape.llama:
        return LlamaConfig(
            max_position_embeddings=shape.tokens,
            vocab_size=shape.vocab,
            num_hidden_layers=shape.n_layer,
            num_attention_heads=shape.n_head,
            hidden_size=shape.n_embd,
            intermediate_size=inner_width(shape),
            tie_word_embeddings=True,
        )
    return GPT2Config(
        n_positions=shape.tokens,
        vocab_size=shape.vocab,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )


def main() -> None:
    """Print one line in the format of ``train_step.py``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("raw", "hf"))
    for name in SHAPE:
        parser.add_argument(name, type=int)
    parser.add_argument("--llama", action="store_true", help="the architecture of Llama instead of GPT-2")
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
