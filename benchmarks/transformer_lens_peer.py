"""Comparison of activations, attention and patched outputs with those of TransformerLens.

    python -m benchmarks.transformer_lens_peer [--dtype float64] [--n_layer 12]

It needs ``pip install transformer_lens``. Both packages get the same random GPT-2 from transformers. Each line shows
the largest difference of one kind of tensor, and the largest value of that tensor.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor

from gpt_lightning.evaluation.explain.attention_maps import attention_maps
from gpt_lightning.models.interventions import layer_names, patch, record
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.load import load_task
from gpt_lightning.tokenizers.build import bytes_tokenizer

NUM_TOKENS: Final = 48
HOOKS: Final = {
    "blocks.{}.attention.heads": "blocks.{}.attn.hook_z",
    "blocks.{}.attention": "blocks.{}.hook_attn_out",
    "blocks.{}.mlp": "blocks.{}.hook_mlp_out",
    "blocks.{}": "blocks.{}.hook_resid_post",
}
"""Names of activations here -> names in TransformerLens."""


def models(folder: Path, dtype: torch.dtype, n_layer: int) -> tuple[CausalLM, Any]:
    """Return a random GPT-2 as a task of this package and as a model of TransformerLens."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=n_layer)
    reference = transformers.GPT2LMHeadModel(config).eval()
    for parameter in reference.parameters():  # biases and gains of their initial values would hide errors
        torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean().round()), std=0.05)
    reference.save_pretrained(folder)
    bytes_tokenizer().save(folder / "tokenizer.json")
    task, _ = load_task(folder)
    assert isinstance(task, CausalLM)
    peer_config = HookedTransformerConfig(
        n_layers=n_layer,
        n_heads=config.n_head,
        d_model=config.n_embd,
        d_head=config.n_embd // config.n_head,
        d_mlp=4 * config.n_embd,
        n_ctx=config.n_positions,
        d_vocab=config.vocab_size,
        act_fn="gelu_new",
        normalization_type="LN",
        dtype=dtype,
        device="cpu",
    )
    peer = HookedTransformer(peer_config)
    state = {name: value.to(dtype) for name, value in convert_gpt2_weights(reference, peer_config).items()}
    missing, _ = peer.load_state_dict(state, strict=False)
    assert all("mask" in name or "IGNORE" in name or name == "unembed.b_U" for name in missing), missing
    torch.nn.init.zeros_(peer.unembed.b_U)
    return task.to(dtype).eval(), peer.eval()


@torch.no_grad()
def compare(task: CausalLM, peer: Any) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of a kind of tensor, and the tensors of both packages."""
    backbone, layers = task.backbone, range(task.backbone.config.n_layer)
    ids, other_ids = torch.randint(50257, (2, 1, NUM_TOKENS), generator=torch.Generator().manual_seed(1))
    with record(backbone, layer_names(backbone)) as activations:
        logits = task(ids)
    peer_logits, cache = peer.run_with_cache(ids)
    yield "logits", logits, peer_logits
    for ours, hook in HOOKS.items():
        found = torch.stack([activations[ours.format(layer)][0] for layer in layers])
        yield hook.format("*"), found, torch.stack([cache[hook.format(layer)] for layer in layers])
    maps = torch.tensor([each.heads for each in attention_maps(backbone, ids[0].tolist())], dtype=logits.dtype)
    patterns = torch.cat([cache[f"blocks.{layer}.attn.hook_pattern"] for layer in layers])
    yield "blocks.*.attn.hook_pattern", maps, patterns

    middle, position, head = len(layers) // 2, NUM_TOKENS // 2, 3
    with record(backbone, [f"blocks.{middle}"]) as others:
        task(other_ids)
    _, other_cache = peer.run_with_cache(other_ids)

    def replace(value: Tensor, hook: Any) -> Tensor:
        value[:, position] = other_cache[hook.name][:, position]
        return value

    def ablate(value: Tensor, **_: Any) -> Tensor:
        value[:, :, head] = 0.0
        return value

    with patch(backbone, f"blocks.{middle}", others[f"blocks.{middle}"][0], positions=[position]):
        patched = task(ids)
    hooks = [(f"blocks.{middle}.hook_resid_post", replace)]
    yield f"logits, position {position} of block {middle} patched", patched, peer.run_with_hooks(ids, fwd_hooks=hooks)
    assert not patched.equal(logits)
    with patch(backbone, f"blocks.{middle}.attention.heads", 0.0, heads=[head]):
        ablated = task(ids)
    ablating = [(f"blocks.{middle}.attn.hook_z", ablate)]
    yield f"logits, head {head} of block {middle} ablated", ablated, peer.run_with_hooks(ids, fwd_hooks=ablating)
    assert not ablated.equal(logits)


def main() -> None:
    """Print the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--n_layer", type=int, default=12)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        task, peer = models(Path(folder), getattr(torch, arguments.dtype), arguments.n_layer)
    for name, found, expected in compare(task, peer):
        print(f"{name:45s} {float((found - expected).abs().max()):.1e} of {float(expected.abs().max()):.1f}")


if __name__ == "__main__":
    main()
