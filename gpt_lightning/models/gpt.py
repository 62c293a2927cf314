"""The backbone that every task shares: token ids in, hidden states out.

B batch, T tokens, C channels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.kv_cache import KVCache
from gpt_lightning.models.layers import MLP, Attention, AttentionInputs, Block, GatedMLP, make_norm, rotary_angles
from gpt_lightning.models.masks import dense_mask, ragged_mask

INIT_STD = 0.02


class GPT(nn.Module):
    """A pre-norm transformer (Radford et al. 2019; Touvron et al. 2023, arXiv:2302.13971).

    It returns hidden states; the output layer belongs to the task.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        if config.vocab_size is None:
            raise InputError("backbone.vocab_size is not known: set it, or give the tokenizer's size")
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.embedding_scale = config.n_embd**0.5 if config.scale_embeddings else None
        learned = config.position == "learned"
        self.position_embedding = nn.Embedding(config.block_size, config.n_embd) if learned else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = make_norm(config)
        self.apply(self._init_weights)
        for name, parameter in self.named_parameters():
            # 2 * n_layer branches add up in the residual stream; scaled so, its variance stays put (GPT-2, 2.3).
            if name.endswith("proj.weight"):
                std = 0.0 if config.zero_init_proj else INIT_STD / math.sqrt(2 * config.n_layer)
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
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return the hidden states of every token, after the last norm.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T), nonzero for real tokens; padding is on the right.
            document_ids: (B, T) int64, non-decreasing along a row. A token attends to its own document only, and each
                document starts at position 0, so that packed documents give the same numbers as separate ones. Not
                supported with a cache.
            cache: keys and values of earlier tokens. The keys and values of these tokens are appended to it.

        Returns:
            (B, T, C) hidden states.

        Raises:
            InputError: the tokens and the cached ones do not fit ``block_size``.
        """
        x_BTC, inputs = self.prepare(input_ids, attention_mask=attention_mask, document_ids=document_ids, cache=cache)
        x_BTC = self.run_blocks(x_BTC, inputs)
        if cache is not None:
            cache.advance(input_ids.size(1), attention_mask)
        hidden_BTC: Tensor = self.norm(x_BTC)
        return hidden_BTC

    # The steps of ``forward``, for callers that replace one of them.

    def prepare(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        document_ids: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Tensor, AttentionInputs]:
        """Return the input of the first block, (B, T, C), and what all blocks share; arguments as in ``forward``."""
        num_tokens, past = input_ids.size(1), 0 if cache is None else cache.length
        self.check_length(past + num_tokens)
        if cache is not None and document_ids is not None:
            raise InputError("a key/value cache holds one document a row; give no document_ids with it")
        is_causal, mask = False, None
        if cache is not None and cache.lengths_B is not None:
            positions = cache.lengths_B.unsqueeze(1) + torch.arange(num_tokens, device=input_ids.device)
            mask = ragged_mask(positions, past + num_tokens)
        else:
            positions = torch.arange(past, past + num_tokens, device=input_ids.device)
            if document_ids is not None:
                positions = _positions_in_documents(positions, document_ids)
            is_causal, mask = dense_mask(
                num_tokens,
                past,
                causal=self.config.attention == "causal",
                attention_mask=attention_mask,
                document_ids=document_ids,
                device=input_ids.device,
            )
        return self.embed(input_ids, positions), self.attention_inputs(positions, is_causal, mask, cache)

    def check_length(self, num_tokens: int) -> None:
        """Refuse sequences that are longer than ``block_size``.

        Raises:
            InputError: ``num_tokens`` do not fit.
        """
        if num_tokens > self.config.block_size:
            raise InputError(
                f"sequence of {num_tokens} tokens is longer than block_size={self.config.block_size}; "
                "raise --model.backbone.block_size or cut the text in the data module"
            )

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Embed tokens.

        Args:
            input_ids: (B, T) int64.
            positions: (T,) or (B, T) int64.

        Returns:
            (B, T, C).
        """
        x_BTC: Tensor = self.token_embedding(input_ids)
        if self.embedding_scale is not None:
            # Rounded to the model's precision, as in the published implementations.
            x_BTC = x_BTC * torch.full((), self.embedding_scale, dtype=x_BTC.dtype, device=x_BTC.device)
        if self.position_embedding is not None:
            x_BTC = x_BTC + self.position_embedding(positions)
        return F.dropout(x_BTC, self.config.dropout, self.training) if self.config.dropout else x_BTC

    def attention_inputs(
        self, positions: Tensor, is_causal: bool, mask: Tensor | None, cache: KVCache | None
    ) -> AttentionInputs:
        """Return what all blocks share; ``positions`` as in ``embed``, the rest as in ``AttentionInputs``."""
        rotary, local = None, None
        if self.config.position == "rotary":
            rotary = _for_heads(rotary_angles(positions, self.config))
            if self.config.rope_global_interval is not None:
                local = _for_heads(rotary_angles(positions, self.config, local=True))
        return AttentionInputs(is_causal, mask, rotary, cache, local)

    def run_blocks(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        """Run all blocks: (B, T, C) -> (B, T, C)."""
        for block in self.blocks:
            x_BTC = block(x_BTC, inputs)
        return x_BTC

    def checkpoint_activations(self, on: bool = True) -> None:
        """Keep of each block only what goes in, and compute the rest anew in the backward pass (Chen et al. 2016,
        arXiv:1604.06174): a third more computation, a fraction of the memory, the same numbers bit for bit.
        """
        for block in self.blocks:
            assert isinstance(block, Block)
            block.recomputes = on

    def num_parameters(self) -> int:
        """Weights that are learned; shared ones count once."""
        return sum(p.numel() for p in self.parameters())

    def matrices(self) -> dict[Tensor, tuple[int, ...]]:
        """The matrices inside the blocks, and how many rows each of those has that lie in one weight.

        Queries, keys and values come from one product, but are three matrices, one on top of the other. A layer that
        something was put around or beside is none of them.
        """
        rows: dict[Tensor, tuple[int, ...]] = {}
        for part in self.modules():
            if isinstance(part, Attention | MLP | GatedMLP):
                layers = [layer for layer in part.children() if isinstance(layer, nn.Linear)]
                rows |= {layer.weight: (layer.out_features,) for layer in layers}
            if isinstance(part, Attention) and part.qkv.weight in rows:
                rows[part.qkv.weight] = part.widths
        return rows

    def flops_per_token(self) -> int:
        """Floating-point operations of one training step (forward and backward) a token, without the output layer.

        6 for every weight of a matrix (4 for a frozen one, which gradients only pass through), and 12 * n_layer *
        n_head * D * block_size, D the width of a head, for the attention scores and sums (Chowdhery et al. 2022,
        arXiv:2204.02311, appendix B): the causal half is not discounted, as is customary.
        """
        config = self.config
        weights = (p for block in self.blocks for p in block.parameters() if p.ndim == 2)
        matrices = sum((6 if p.requires_grad else 4) * p.numel() for p in weights)
        return matrices + 12 * config.n_layer * config.n_head * config.head_width * config.block_size


def _for_heads(angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Let the same angles broadcast to all heads."""
    cos, sin = angles
    return cos.unsqueeze(-2), sin.unsqueeze(-2)


def _positions_in_documents(positions_T: Tensor, document_ids: Tensor) -> Tensor:
    """Return the positions of tokens in their own documents, (B, T)."""
    starts = torch.ones_like(document_ids, dtype=torch.bool)
    starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return positions_T - torch.where(starts, positions_T, 0).cummax(dim=1).values
