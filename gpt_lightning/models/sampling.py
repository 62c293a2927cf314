"""From logits to text: choosing the next token, again and again.

B batch, T tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.cache import KVCache
from gpt_lightning.models.gpt import GPT


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: divides the logits; 0 always takes the likeliest token.
        top_k: draw among the k likeliest tokens only.
        top_p: draw among the likeliest tokens that together hold this much probability (Holtzman et al. 2019,
            arXiv:1904.09751).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0.0:
            raise InputError(f"--temperature {self.temperature} must be 0 (greedy) or more")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"--top_k {self.top_k} must be at least 1")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise InputError(f"--top_p {self.top_p} must lie in (0, 1]")

    def draw(self, logits_BV: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The next token of each row: (B, V) -> (B, 1) int64."""
        if self.temperature == 0.0:
            return logits_BV.argmax(dim=-1, keepdim=True)
        return torch.multinomial(self.probabilities(logits_BV), num_samples=1, generator=generator)

    def probabilities(self, logits_BV: Tensor) -> Tensor:
        """What is drawn from: (B, V) float32, rows summing to 1, zero for tokens that are cut off."""
        logits_BV = logits_BV.float() / self.temperature
        if self.top_k is not None and self.top_k < logits_BV.size(-1):
            kth = logits_BV.topk(self.top_k, dim=-1).values[:, -1:]
            logits_BV = logits_BV.masked_fill(logits_BV < kth, -torch.inf)
        if self.top_p is not None and self.top_p < 1.0:
            ordered, order = logits_BV.sort(dim=-1, descending=True)
            probabilities = ordered.softmax(dim=-1)
            # A token is cut when those before it already hold top_p; the likeliest always stays.
            cut = probabilities.cumsum(dim=-1) - probabilities >= self.top_p
            logits_BV = logits_BV.masked_fill(cut.scatter(-1, order, cut), -torch.inf)
        return logits_BV.softmax(dim=-1)


@torch.inference_mode()
def generate(
    backbone: GPT,
    head: Callable[[Tensor], Tensor],
    prompt_ids: Tensor,
    *,
    max_new_tokens: int,
    sampling: Sampling,
    stop_id: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Continue every row of ``prompt_ids``, one token at a time.

    Where prompt and continuation outgrow ``block_size``, the last tokens are kept: all that fit of a prompt, and half
    of the context once it is full, read anew. So the cost of that is spread over half a context of new tokens.

    Args:
        backbone: in ``eval`` mode.
        head: hidden states (B, C) to logits (B, V).
        prompt_ids: (B, T) int64, T at least 1.
        max_new_tokens: how many at most.
        sampling: how each is drawn.
        stop_id: end when every row has drawn it.
        generator: random numbers to draw with; torch's own otherwise.

    Yields:
        (B,) int64, the next token of each row; a row that has ended goes on yielding ``stop_id``.
    """
    if backbone.config.attention != "causal":
        raise InputError("only a causal backbone can generate; this one attends in both directions")
    block_size = backbone.config.block_size
    weight = backbone.token_embedding.weight
    # Room for no more than there will be: a long context that stays empty costs memory, and time to get it.
    capacity = min(block_size, prompt_ids.size(1) + max_new_tokens)
    cache = KVCache(backbone.config, prompt_ids.size(0), capacity=capacity, device=weight.device, dtype=weight.dtype)
    text_BT = prompt_ids
    unread_BT = prompt_ids[:, -block_size:]
    ended_B = torch.zeros(prompt_ids.size(0), dtype=torch.bool, device=prompt_ids.device)
    for _ in range(max_new_tokens):
        if cache.length + unread_BT.size(1) > block_size:
            cache.clear()
            unread_BT = text_BT[:, -(block_size // 2 or 1) :]
        # Not by a call: where those are compiled, it would be done anew for each length of the cache.
        hidden_BTC = backbone.forward(unread_BT, cache=cache)
        unread_BT = sampling.draw(head(hidden_BTC[:, -1]), generator)
        if stop_id is not None:
            unread_BT = unread_BT.masked_fill(ended_B.unsqueeze(1), stop_id)
            ended_B = ended_B | (unread_BT.squeeze(1) == stop_id)
        text_BT = torch.cat((text_BT[:, -block_size:], unread_BT), dim=1)
        yield unread_BT.squeeze(1)
        if stop_id is not None and bool(ended_B.all()):
            return
