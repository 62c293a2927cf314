"""Transformer backbone of all tasks, from token ids to hidden states.

B batch, T tokens, C channels.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.kv_cache import KVCache
from gpt_lightning.models.layers import (
    MLP,
    Attention,
    AttentionInputs,
    Block,
    CrossAttention,
    GatedMLP,
    make_block,
    make_norm,
    rotary_angles,
    sinusoidal_positions,
)
from gpt_lightning.models.masks import dense_mask, ragged_mask

INIT_STD = 0.02


class Intervention(NamedTuple):
    """Patch or recording of an activation (``interventions.py``)."""

    layer: str
    """Name of the activation."""
    is_of_whole_texts: bool
    """True if its effect is only defined for rows that hold one text each, from its first token on."""


class GPT(nn.Module):
    """Transformer in the style of GPT-2 (Radford et al. 2019) or Llama (Touvron et al. 2023, arXiv:2302.13971).

    It returns hidden states; the output layer belongs to the task.

    Args:
        config: shape and options, with a ``vocab_size``.

    Raises:
        InputError: ``vocab_size`` is missing, or the configuration has an encoder, which only ``EncoderDecoder`` has.
    """

    has_encoder = False
    """True if the model is an encoder-decoder."""
    interventions: tuple[Intervention, ...] = ()
    """Patches and recordings that are in place."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        if (config.n_encoder_layer is not None) != self.has_encoder:
            raise InputError(_wrong_encoder(config))
        if config.vocab_size is None:
            raise InputError(
                "backbone.vocab_size is missing. Set it, for example to the vocabulary size of your tokenizer"
            )
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.embedding_scale = config.n_embd**0.5 if config.scale_embeddings else None
        learned = config.position == "learned"
        self.position_embedding = nn.Embedding(config.block_size, config.n_embd) if learned else None
        self.is_sinusoidal = config.position == "sinusoidal"
        self.embedding_norm = make_norm(config) if config.norm_embeddings else None
        self.blocks = nn.ModuleList(make_block(config, layer) for layer in range(config.n_layer))
        self.norm = nn.Identity() if config.norm_placement == "after_residual" else make_norm(config)
        self.apply(self._init_weights)
        num_branches = (3 if self.has_encoder else 2) * config.n_layer
        for name, parameter in self.named_parameters():
            # The residual stream sums the outputs of all branches; this scale keeps its variance constant (GPT-2, 2.3).
            if name.endswith("proj.weight"):
                std = 0.0 if config.zero_init_proj else INIT_STD / math.sqrt(num_branches)
                nn.init.normal_(parameter, std=std)

    @staticmethod
    def _init_weights(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INIT_STD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        document_ids: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return the hidden states of all tokens, after the final norm.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T), nonzero for tokens, 0 for padding, which must be on the right.
            document_ids: (B, T) int64, non-decreasing in each row. Tokens attend to their own document only, and
                positions start at 0 in each, so that packed documents give the same hidden states as separate ones.
                Not supported with a cache.
            prefix_mask: (B, T) bool, True for the tokens of prompts, which ``prefix`` attention reads in both
                directions. Other kinds of attention ignore it. With an empty cache, all tokens are a prompt.
            cache: keys and values of earlier tokens, to which those of ``input_ids`` are appended.

        Returns:
            (B, T, C) hidden states.

        Raises:
            InputError: the cached and the new tokens together exceed ``block_size``.
        """
        x_BTC, inputs = self.prepare(
            input_ids,
            attention_mask=attention_mask,
            document_ids=document_ids,
            prefix_mask=prefix_mask,
            cache=cache,
        )
        x_BTC = self.run_blocks(x_BTC, inputs)
        if cache is not None:
            cache.advance(input_ids.size(1), attention_mask)
        hidden_BTC: Tensor = self.norm(x_BTC)
        return hidden_BTC

    # The steps of ``forward`` are public for callers that replace one of them.

    def prepare(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        document_ids: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Tensor, AttentionInputs]:
        """Return the input of the first block, (B, T, C), and the inputs that all blocks share.

        The arguments are those of ``forward``.
        """
        num_tokens, past = input_ids.size(1), 0 if cache is None else cache.length
        self.check_length(past + num_tokens)
        if cache is not None and document_ids is not None:
            raise InputError(
                "document_ids cannot be used with a key/value cache, which holds one document per row. "
                "Leave out document_ids or the cache"
            )
        is_causal, mask = False, None
        if cache is not None and cache.lengths_B is not None:
            positions = cache.lengths_B.unsqueeze(1) + torch.arange(num_tokens, device=input_ids.device)
            mask = ragged_mask(positions, past + num_tokens)
        else:
            positions = torch.arange(past, past + num_tokens, device=input_ids.device)
            if document_ids is not None:
                positions = _positions_in_documents(positions, document_ids)
            has_prompts = self.config.attention == "prefix"
            is_prompt = has_prompts and cache is not None and past == 0
            is_causal, mask = dense_mask(
                num_tokens,
                past,
                causal=self.config.attention != "bidirectional" and not is_prompt,
                attention_mask=attention_mask,
                document_ids=document_ids,
                prefix_mask=prefix_mask if has_prompts and cache is None else None,
                device=input_ids.device,
            )
        return self.embed(input_ids, positions), self.attention_inputs(positions, is_causal, mask, cache)

    def check_length(self, num_tokens: int) -> None:
        """Check that a sequence fits ``block_size``.

        Raises:
            InputError: ``num_tokens`` exceeds ``block_size``.
        """
        if num_tokens > self.config.block_size:
            raise InputError(
                f"sequence of {num_tokens} tokens is longer than block_size={self.config.block_size}. "
                "Raise --model.backbone.block_size, or truncate the text in the data module"
            )

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Return the embeddings of tokens and positions.

        Args:
            input_ids: (B, T) int64.
            positions: (T,) or (B, T) int64.

        Returns:
            (B, T, C).
        """
        x_BTC: Tensor = self.token_embedding(input_ids)
        if self.embedding_scale is not None:
            # The published implementations round the factor to the model's precision.
            x_BTC = x_BTC * torch.full((), self.embedding_scale, dtype=x_BTC.dtype, device=x_BTC.device)
        if self.position_embedding is not None:
            x_BTC = x_BTC + self.position_embedding(positions)
        elif self.is_sinusoidal:
            x_BTC = x_BTC + sinusoidal_positions(positions, self.config.n_embd, x_BTC.dtype)
        if self.embedding_norm is not None:
            x_BTC = self.embedding_norm(x_BTC)
        return F.dropout(x_BTC, self.config.dropout, self.training) if self.config.dropout else x_BTC

    def attention_inputs(
        self, positions: Tensor, is_causal: bool, mask: Tensor | None, cache: KVCache | None
    ) -> AttentionInputs:
        """Return the inputs that all blocks share.

        Args:
            positions: (T,) or (B, T) int64.
            is_causal: see ``AttentionInputs``.
            mask: see ``AttentionInputs``.
            cache: see ``AttentionInputs``.
        """
        rotary, local = None, None
        if self.config.position == "rotary":
            rotary = _for_heads(rotary_angles(positions, self.config))
            if self.config.rope_global_interval is not None:
                local = _for_heads(rotary_angles(positions, self.config, local=True))
        return AttentionInputs(is_causal, mask, rotary, cache, local)

    def run_blocks(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        """Apply all blocks: (B, T, C) -> (B, T, C)."""
        for block in self.blocks:
            x_BTC = block(x_BTC, inputs)
        return x_BTC

    def checkpoint_activations(self, is_enabled: bool = True) -> None:
        """Turn activation checkpointing on or off (Chen et al. 2016, arXiv:1604.06174).

        With it, each block keeps only its input for the backward pass, which recomputes the rest. Training takes a
        third more computation and a fraction of the memory. Results are the same, bit for bit.
        """
        for block in self.blocks:
            assert isinstance(block, Block)
            block.is_checkpointed = is_enabled

    def num_parameters(self) -> int:
        """Return the number of parameters; tied ones count once."""
        return sum(p.numel() for p in self.parameters())

    def matrices(self) -> dict[Tensor, tuple[int, ...]]:
        """Return the weights of the linear layers of all blocks, each with the row counts of the matrices in it.

        The weight of the fused projection of queries, keys and values holds three matrices, one below the other. In
        cross-attention, the projection of keys and values holds two. Layers wrapped by another module, such as those
        with LoRA adapters, are left out.
        """
        rows: dict[Tensor, tuple[int, ...]] = {}
        for part in self.modules():
            if isinstance(part, Attention | CrossAttention | MLP | GatedMLP):
                layers = [layer for layer in part.children() if isinstance(layer, nn.Linear)]
                rows |= {layer.weight: (layer.out_features,) for layer in layers}
            if isinstance(part, Attention) and part.qkv.weight in rows:
                rows[part.qkv.weight] = part.widths
            if isinstance(part, CrossAttention) and part.kv.weight in rows:
                rows[part.kv.weight] = (part.kv_width, part.kv_width)
        return rows

    def flops_per_token(self) -> int:
        """Return the floating-point operations per token of forward and backward pass, without the output layer.

        Each weight of a matrix takes 6 operations, or 4 if it is frozen and has no gradient. Attention takes 12 *
        n_layer * n_head * D * block_size for heads of D channels (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).
        By convention, causal attention counts like full attention.
        """
        config = self.config
        weights = (p for block in self.blocks for p in block.parameters() if p.ndim == 2)
        matrices = sum((6 if p.requires_grad else 4) * p.numel() for p in weights)
        return matrices + 12 * config.n_layer * config.n_head * config.head_width * config.block_size


def _wrong_encoder(config: GPTConfig) -> str:
    """Return the error for a configuration with an encoder in a model without one, or the reverse."""
    if config.n_encoder_layer is None:
        return (
            "backbone.n_encoder_layer is missing: an encoder-decoder needs an encoder. "
            f"Set it, for example to backbone.n_layer={config.n_layer}"
        )
    return (
        f"backbone.n_encoder_layer={config.n_encoder_layer} is only for encoder-decoders (--model=Seq2SeqLM). "
        "Leave it out, or use that model"
    )


def _for_heads(angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Add a dimension so that the angles broadcast to all heads."""
    cos, sin = angles
    return cos.unsqueeze(-2), sin.unsqueeze(-2)


def _positions_in_documents(positions_T: Tensor, document_ids: Tensor) -> Tensor:
    """Return the positions of tokens within their documents, (B, T)."""
    starts = torch.ones_like(document_ids, dtype=torch.bool)
    starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return positions_T - torch.where(starts, positions_T, 0).cummax(dim=1).values
