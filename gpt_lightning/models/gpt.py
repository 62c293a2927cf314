"""The backbone that every task shares: token ids in, hidden states out.

B batch, T tokens, S tokens attended to (cached ones first), C channels.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.kv_cache import KVCache
from gpt_lightning.models.layers import MLP, Attention, AttentionInputs, Block, SwiGLU, make_norm, rotary_angles

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
        branches: Tensor | None = None,
        cache: KVCache | None = None,
        through: Callable[[Tensor, AttentionInputs], Tensor] | None = None,
    ) -> Tensor:
        """Hidden states of every token, after the last norm.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T), nonzero for real tokens; padding is on the right.
            document_ids: (B, T) int64, non-decreasing along a row: a token sees its own document only, and positions
                start again with each, so that packed documents come out as they would alone. Without a cache only.
            branches: (B, T) int64, each token's position, where a row holds several texts that share their beginnings:
                a position that is not the next starts a branch, which goes on from the tokens before that position.
                Causal attention only, with nothing else beside it.
            cache: keys and values of the tokens before these; these are appended to it, but for the padding.
            through: (B, T, C) -> (B, T, C), in place of calling the blocks one after the other.

        Returns:
            (B, T, C) hidden states.

        Raises:
            InputError: the tokens, with the cached ones, do not fit ``block_size``.
        """
        num_tokens, past = input_ids.size(1), 0 if cache is None else cache.length
        longest = past + num_tokens if branches is None else int(branches.max()) + 1
        if longest > self.config.block_size:
            raise InputError(
                f"sequence of {longest} tokens is longer than block_size={self.config.block_size}; "
                "raise --model.backbone.block_size or cut the text in the data module"
            )
        if cache is not None and document_ids is not None:
            raise InputError("a key/value cache works on one document a row; give no document_ids with it")
        lengths_B = None if cache is None else cache.lengths_B
        positions = self._positions(input_ids, document_ids, past, lengths_B) if branches is None else branches
        x_BTC = self.token_embedding(input_ids)
        rotary = None
        if self.position_embedding is not None:
            x_BTC = x_BTC + self.position_embedding(positions)
        else:
            cos, sin = rotary_angles(positions, self.config)
            rotary = cos.unsqueeze(-2), sin.unsqueeze(-2)  # the same for each head
        if self.config.dropout:
            x_BTC = F.dropout(x_BTC, self.config.dropout, self.training)
        is_causal, mask = False, None
        if branches is not None:
            mask = branch_mask(branches)
        elif lengths_B is not None:
            mask = ragged_mask(positions, past + num_tokens)
        else:
            is_causal, mask = self._mask(num_tokens, past, attention_mask, document_ids, input_ids.device)
        x_BTC = (through or self._through)(x_BTC, AttentionInputs(is_causal, mask, rotary, cache))
        if cache is not None:
            cache.advance(num_tokens if attention_mask is None else attention_mask.bool().sum(1))
        hidden_BTC: Tensor = self.norm(x_BTC)
        return hidden_BTC

    def _through(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        for block in self.blocks:
            x_BTC = block(x_BTC, inputs)
        return x_BTC

    def _positions(self, input_ids: Tensor, document_ids: Tensor | None, past: int, lengths_B: Tensor | None) -> Tensor:
        """(T,) positions, or (B, T) where documents start again at 0 or rows have pasts of their own."""
        if lengths_B is not None:
            return lengths_B.unsqueeze(1) + torch.arange(input_ids.size(1), device=input_ids.device)
        positions = torch.arange(past, past + input_ids.size(1), device=input_ids.device)
        if document_ids is None:
            return positions
        starts = torch.ones_like(document_ids, dtype=torch.bool)
        starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
        return positions - torch.where(starts, positions, 0).cummax(dim=1).values

    def _mask(
        self,
        num_tokens: int,
        past: int,
        attention_mask: Tensor | None,
        document_ids: Tensor | None,
        device: torch.device,
    ) -> tuple[bool, Tensor | None]:
        """Whether plain causal attention is all there is, and else the mask: (B or 1, 1, T, S) bool or None."""
        causal = self.config.attention == "causal"
        mask: Tensor | None = None
        # Padding is on the right: where attention is causal, no real token sees it anyway.
        if attention_mask is not None and not causal:
            mask = attention_mask.bool()[:, None, None, :]
        if document_ids is not None:
            same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
            mask = same if mask is None else mask & same
        if not causal or num_tokens == 1:  # one new token may look at everything before it
            return False, mask
        if mask is None and past == 0:
            return True, None
        total = past + num_tokens
        triangle = torch.ones(num_tokens, total, dtype=torch.bool, device=device).tril(past)
        return False, triangle if mask is None else mask & triangle

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
            if isinstance(part, Attention | MLP | SwiGLU):
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


def ragged_mask(positions_BT: Tensor, total: int) -> Tensor:
    """(B, 1, T, S) bool: of the ``total`` places in the cache, a token sees those up to its own position."""
    places_S = torch.arange(total, device=positions_BT.device)
    return (places_S <= positions_BT.unsqueeze(-1)).unsqueeze(1)


def branch_mask(positions_BT: Tensor) -> Tensor:
    """(B, 1, T, T) bool: a token sees the last token of every position up to its own, itself included.

    Those are its ancestors: a branch is over when a later token takes one of its positions, and longer ones reach
    beyond the token's own position.
    """
    num_tokens = positions_BT.size(1)
    order_BT = positions_BT.argsort(dim=1, stable=True)
    sorted_BT = positions_BT.gather(1, order_BT)
    # The token after which each is seen no more: the next of the same position.
    follower_BT = torch.where(sorted_BT[:, 1:] == sorted_BT[:, :-1], order_BT[:, 1:], num_tokens)
    until_BT = torch.full_like(positions_BT, num_tokens).scatter(1, order_BT[:, :-1], follower_BT)
    place_T = torch.arange(num_tokens, device=positions_BT.device)
    seen_BTT = (place_T <= place_T.unsqueeze(1)) & (place_T.unsqueeze(1) < until_BT.unsqueeze(1))
    return (seen_BTT & (positions_BT.unsqueeze(1) <= positions_BT.unsqueeze(2))).unsqueeze(1)
