"""Encoder-decoder Transformer (Vaswani et al. 2017, arXiv:1706.03762).

B batch, S source tokens, T target tokens, C channels.
"""

from dataclasses import replace

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.kv_cache import KVCache
from gpt_lightning.models.layers import Block, CrossAttention, Memory


class EncoderDecoder(GPT):
    """Causal decoder with cross-attention, and a bidirectional encoder of the same shape.

    Both sides share the token embedding unless ``share_embeddings`` is off. Each has its own learned positions.

    Args:
        config: shape and options, with a ``vocab_size`` and ``n_encoder_layer``.

    Raises:
        InputError: ``vocab_size`` or ``n_encoder_layer`` is missing, or the attention of the decoder is not causal.
    """

    has_encoder = True
    is_cross_attention_new = False
    """True if the weights come from a model without an encoder, so cross-attention has random weights."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        if config.attention != "causal":
            raise InputError(
                f"backbone.attention={config.attention} is not for encoder-decoders: their decoder is causal, and "
                "their encoder is always bidirectional. Set backbone.attention=causal"
            )
        assert config.n_encoder_layer is not None
        self.encoder = GPT(
            replace(config, n_layer=config.n_encoder_layer, n_encoder_layer=None, attention="bidirectional")
        )
        if config.share_embeddings:
            self.encoder.token_embedding = self.token_embedding

    def forward(
        self,
        input_ids: Tensor,
        *,
        source_ids: Tensor | None = None,
        source_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        document_ids: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return the hidden states of all target tokens, after the final norm.

        Args:
            input_ids: (B, T) int64, the inputs of the decoder.
            source_ids: (B, S) int64, the sources; None if ``cache`` is a ``SourceCache``.
            source_mask: (B, S), nonzero for source tokens, 0 for padding, which must be on the right.
            attention_mask: as in ``GPT.forward``, for the target.
            document_ids: as in ``GPT.forward``, for the target.
            prefix_mask: as in ``GPT.forward``; it has no effect on causal attention.
            cache: keys and values of earlier target tokens.

        Returns:
            (B, T, C) hidden states.

        Raises:
            InputError: a source or a target does not fit ``block_size``.
        """
        memory = None if source_ids is None else self.encode(source_ids, source_mask)
        x_BTC, inputs = self.prepare(input_ids, attention_mask=attention_mask, document_ids=document_ids, cache=cache)
        x_BTC = self.run_blocks(x_BTC, inputs._replace(memory=memory))
        if cache is not None:
            cache.advance(input_ids.size(1), attention_mask)
        hidden_BTC: Tensor = self.norm(x_BTC)
        return hidden_BTC

    def encode(self, source_ids: Tensor, source_mask: Tensor | None = None) -> Memory:
        """Return the encoded sources. See ``forward`` for the arguments.

        Raises:
            InputError: a source is longer than ``block_size``.
        """
        num_tokens, block_size = source_ids.size(1), self.config.block_size
        if num_tokens > block_size:
            raise InputError(
                f"source of {num_tokens} tokens is longer than block_size={block_size}. "
                "Raise --model.backbone.block_size, or truncate the source"
            )
        mask = None if source_mask is None else source_mask.bool()[:, None, None, :]
        return Memory(self.encoder(source_ids, attention_mask=source_mask), mask)

    def keys_and_values(self, memory: Memory) -> list[tuple[Tensor, Tensor]]:
        """Return the keys and values of cross-attention in each block of the decoder, (B, G, S, D) each."""
        return [layer.keys_and_values(memory.hidden) for layer in self.cross_attentions()]

    def cross_attentions(self) -> list[CrossAttention]:
        """Return the cross-attention of each block of the decoder."""
        layers = [block.cross_attention for block in self.blocks if isinstance(block, Block)]
        return [layer for layer in layers if layer is not None]

    def checkpoint_activations(self, is_enabled: bool = True) -> None:
        """Turn activation checkpointing of all blocks on or off; see ``GPT.checkpoint_activations``."""
        super().checkpoint_activations(is_enabled)
        self.encoder.checkpoint_activations(is_enabled)

    def flops_per_token(self) -> int:
        """Return the floating-point operations of a training step per source token, for targets of the same length.

        Cross-attention costs as much as self-attention. See ``GPT.flops_per_token``.
        """
        config = self.config
        cross = 12 * config.n_layer * config.n_head * config.head_width * config.block_size
        return super().flops_per_token() + self.encoder.flops_per_token() + cross

    # --- weights of a model without an encoder

    def side_config(self) -> GPTConfig:
        """Return the configuration of a model without an encoder whose weights fit both sides.

        Raises:
            InputError: encoder and decoder have different numbers of blocks.
        """
        config = self.config
        if config.n_encoder_layer != config.n_layer:
            raise InputError(
                f"backbone.n_encoder_layer={config.n_encoder_layer} differs from backbone.n_layer={config.n_layer}, so "
                "one pretrained model cannot fill both sides. Set both to the number of its blocks"
            )
        return replace(config, n_encoder_layer=None, share_embeddings=True)

    @torch.no_grad()
    def load_sides(self, pretrained: GPT) -> None:
        """Copy the weights of a model with the configuration ``side_config`` into both encoder and decoder.

        Cross-attention keeps its random weights.
        """
        state = pretrained.state_dict()
        self.encoder.load_state_dict(state)
        own = self.state_dict()
        for name, value in state.items():
            own[name].copy_(value)
        self.is_cross_attention_new = True
