"""The generation loop: sampling (temperature, top-k, top-p) and the check of speculative tokens.

B batch, T tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.prompt_lookup import PromptLookup
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.kv_cache import KVCache


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
    guess: bool = True,
) -> Iterator[Tensor]:
    """Continue every row of ``prompt_ids``, one token after the other.

    Where prompt and continuation outgrow ``block_size``, the last tokens are kept: all that fit of a prompt, and half
    of the context once it is full, read anew. So the cost of that is spread over half a context of new tokens.

    A single row is guessed ahead where its text repeats itself, and several tokens come of one pass over the weights.
    They are those that would be drawn one by one, with the same random numbers; logits differ by rounding alone.

    Args:
        backbone: in ``eval`` mode.
        head: hidden states (R, C) to logits (R, V).
        prompt_ids: (B, T) int64, T at least 1.
        max_new_tokens: how many at most.
        sampling: how each is drawn.
        stop_id: end when every row has drawn it.
        generator: random numbers to draw with; torch's own otherwise.
        guess: whether a single row is guessed ahead.

    Yields:
        (B,) int64, the next token of each row; a row that has ended goes on yielding ``stop_id``.
    """
    if backbone.config.attention != "causal":
        raise InputError("only a causal backbone can generate; this one attends in both directions")
    block_size, rows = backbone.config.block_size, prompt_ids.size(0)
    weight = backbone.token_embedding.weight
    # Room for no more than there will be: a long context that stays empty costs memory, and time to get it.
    capacity = min(block_size, prompt_ids.size(1) + max_new_tokens)
    cache = KVCache(backbone.config, rows, capacity=capacity, device=weight.device, dtype=weight.dtype)
    decoder = Decoder(backbone)
    lookup = PromptLookup(prompt_ids[0].tolist()) if guess and rows == 1 else None
    text_BT = prompt_ids
    unread_BT = prompt_ids[:, -block_size:]
    ended_B = torch.zeros(rows, dtype=torch.bool, device=prompt_ids.device)
    left = max_new_tokens
    while left > 0:
        if cache.length + unread_BT.size(1) > block_size:
            cache.clear()
            unread_BT = text_BT[:, -(block_size // 2 or 1) :]
        room = min(left - 1, block_size - cache.length - unread_BT.size(1))
        guesses = [] if lookup is None else lookup.guess(room)
        read_BT = torch.cat((unread_BT, unread_BT.new_tensor([guesses])), dim=1) if guesses else unread_BT
        hidden_BTC = decoder(read_BT, cache)[:, unread_BT.size(1) - 1 :]
        logits_RV = head(hidden_BTC.flatten(0, 1))
        for place, logits_BV in enumerate(logits_RV.view(rows, -1, logits_RV.size(1)).unbind(1)):
            unread_BT = sampling.draw(logits_BV, generator)
            if stop_id is not None:
                unread_BT = unread_BT.masked_fill(ended_B.unsqueeze(1), stop_id)
                ended_B = ended_B | (unread_BT.squeeze(1) == stop_id)
            text_BT = torch.cat((text_BT[:, -block_size:], unread_BT), dim=1)
            left -= 1
            yield unread_BT.squeeze(1)
            if stop_id is not None and bool(ended_B.all()):
                return
            if lookup is not None:
                lookup.append(token := int(unread_BT))
                if place < len(guesses) and token != guesses[place]:
                    cache.forget(len(guesses) - place)
                    break
