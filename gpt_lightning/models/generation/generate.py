"""Generation loop: sampling (temperature, top-k, top-p) and verification of draft tokens.

B batch, T tokens, V vocabulary, S stop tokens.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.decoder import TextDecoder
from gpt_lightning.models.generation.logits_processors import LogitsProcessor, check_any_allowed
from gpt_lightning.models.generation.prompt_lookup import PromptLookup
from gpt_lightning.ranges import check_count, check_number

_MIN_TEMPERATURE: Final = 1e-6
"""Lowest temperature above 0; logits that are divided by less could overflow."""


class NonFiniteError(InputError):
    """Logits that hold NaN or infinity, so that no token can be drawn."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling strategy: how the next token is drawn from the logits.

    Attributes:
        temperature: divisor of the logits. Below 1, likely tokens become likelier; 0 is greedy decoding.
        top_k: sample only from the k likeliest tokens; None is no limit.
        top_p: sample only from the likeliest tokens whose probabilities sum to at least this value (nucleus sampling,
            Holtzman et al. 2019, arXiv:1904.09751); None is no limit.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        check_number("--temperature", self.temperature, least=-math.inf)
        if self.temperature != 0.0 and self.temperature < _MIN_TEMPERATURE:
            raise InputError(f"--temperature {self.temperature} must be 0 (greedy), or {_MIN_TEMPERATURE} or more")
        if self.top_k is not None:
            check_count("--top_k", self.top_k)
        if self.top_p is not None:
            check_number("--top_p", self.top_p, least=-math.inf)
            if not 0.0 < self.top_p <= 1.0:
                raise InputError(f"--top_p {self.top_p} must lie in (0, 1]")

    def draw(self, logits_BV: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None = None) -> Tensor:
        """Draw the next token of each row: (B, V) -> (B, 1) int64.

        Args:
            logits_BV: the logits.
            generator: the random number generator, or one for each row; None takes torch's default.

        Raises:
            NonFiniteError: the logits of a row hold NaN or infinity.
        """
        check_finite(logits_BV)
        if self.temperature == 0.0:
            return logits_BV.argmax(dim=-1, keepdim=True)
        probabilities_BV = self.probabilities(logits_BV)
        if isinstance(generator, Sequence):
            rows = zip(probabilities_BV.unsqueeze(1), generator, strict=True)
            return torch.cat([torch.multinomial(row, num_samples=1, generator=own) for row, own in rows])
        return torch.multinomial(probabilities_BV, num_samples=1, generator=generator)

    def probabilities(self, logits_BV: Tensor) -> Tensor:
        """Return the distribution to sample from, (B, V) float32, with zeros for excluded tokens."""
        logits_BV = logits_BV.float() / self.temperature
        if self.top_k is not None and self.top_k < logits_BV.size(-1):
            kth = logits_BV.topk(self.top_k, dim=-1).values[:, -1:]
            logits_BV = logits_BV.masked_fill(logits_BV < kth, -torch.inf)
        if self.top_p is not None and self.top_p < 1.0:
            ordered, order = logits_BV.sort(dim=-1, descending=True)
            probabilities = ordered.softmax(dim=-1)
            # A token is excluded if the likelier ones already sum to top_p, so the likeliest always stays.
            cut = probabilities.cumsum(dim=-1) - probabilities >= self.top_p
            logits_BV = logits_BV.masked_fill(cut.scatter(-1, order, cut), -torch.inf)
        return logits_BV.softmax(dim=-1)


def check_finite(logits_BV: Tensor) -> None:
    """Check that tokens can be drawn from the logits.

    Raises:
        NonFiniteError: the logits of a row hold NaN or infinity.
    """
    if not bool(logits_BV.amax(dim=-1).isfinite().all()):
        raise NonFiniteError(
            "the logits of the model are NaN or infinite, so no token can be drawn. Its weights are damaged, or too "
            "large for their precision. Use another checkpoint; if you train the model, lower model.optimizer.lr"
        )


def process_logits(
    logits_processors: Sequence[LogitsProcessor], logits_BV: Tensor, text_BT: Tensor, num_new: int
) -> Tensor:
    """Apply logits processors, in this order.

    Args:
        logits_processors: the rules; without any, the logits are returned unchanged.
        logits_BV: the logits.
        text_BT: prompts and new tokens, padded on the left with ``NO_TOKEN``.
        num_new: number of new tokens in each text.

    Raises:
        InputError: the logits are not finite, or a row has no allowed token.
    """
    if not logits_processors:
        return logits_BV
    check_finite(logits_BV)
    logits_BV = logits_BV.to(torch.promote_types(logits_BV.dtype, torch.float32))
    for process in logits_processors:
        logits_BV = process(logits_BV, text_BT, num_new)
    check_any_allowed(logits_BV.amax(dim=-1).isfinite())
    return logits_BV


def token_logprobs(logits_BV: Tensor, token_B1: Tensor) -> Tensor:
    """Return the log-probability of a token of each row in nats, (B,) float32."""
    return logits_BV.float().log_softmax(-1).gather(1, token_B1).squeeze(1)


@torch.inference_mode()
def generate(
    decoder: TextDecoder,
    head: Callable[[Tensor], Tensor],
    prompt_ids: Tensor,
    *,
    max_new_tokens: int,
    sampling: Sampling,
    stop_ids: Collection[int] = (),
    generator: torch.Generator | None = None,
    use_prompt_lookup: bool = True,
    logits_processors: Sequence[LogitsProcessor] = (),
    logprobs: list[Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield the continuation of each row of ``prompt_ids``, one token at a time.

    A prompt longer than ``block_size`` is truncated on the left. When the context is full, its last half is processed
    again as a new context. This costs one prefill per half context of new tokens.

    A single row uses prompt-lookup speculative decoding where its text repeats itself, which yields several tokens per
    forward pass. They are the tokens that would be drawn one by one, with the same random numbers, except that logits
    are rounded differently.

    Args:
        decoder: the model, such as a ``Decoder`` of a backbone in ``eval`` mode.
        head: maps hidden states (R, C) to logits (R, V).
        prompt_ids: (B, T) int64, at least one token.
        max_new_tokens: maximum number of new tokens.
        sampling: the sampling strategy.
        stop_ids: a row is finished when it has drawn one of these tokens; generation ends when all rows are.
        generator: the random number generator; None takes torch's default.
        use_prompt_lookup: use speculative decoding for a single row.
        logits_processors: rules that change the logits before a token is drawn, in this order. They see the whole text.
        logprobs: list to which the log-probabilities of the new tokens are appended, (B,) float32 in nats for each
            step. They are those of the model, before logits processors and temperature.

    Yields:
        (B,) int64, the next token of each row; finished rows repeat their last one.

    Raises:
        InputError: the model is bidirectional, or its logits are not finite.
    """
    if decoder.config.attention == "bidirectional":
        raise InputError(
            "only a causal backbone can generate text, but this one is bidirectional. "
            "Train one with model.backbone.attention=causal"
        )
    block_size, rows = decoder.config.block_size, prompt_ids.size(0)
    # A cache no larger than the text saves memory, and the time to allocate it.
    cache = decoder.make_cache(rows, min(block_size, prompt_ids.size(1) + max_new_tokens))
    lookup = PromptLookup(prompt_ids[0].tolist()) if use_prompt_lookup and rows == 1 else None
    text_BT = prompt_ids
    num_kept = prompt_ids.size(1) + max_new_tokens if logits_processors else block_size
    pending_BT = prompt_ids[:, -block_size:]
    stop_ids_S = torch.tensor(list(stop_ids), dtype=torch.int64, device=prompt_ids.device)
    is_finished_B = torch.zeros(rows, dtype=torch.bool, device=prompt_ids.device)
    remaining = max_new_tokens
    while remaining > 0:
        if cache.length + pending_BT.size(1) > block_size:
            cache.clear()
            pending_BT = text_BT[:, -(block_size // 2 or 1) :]
        max_draft = min(remaining - 1, block_size - cache.length - pending_BT.size(1))
        # With prefix attention, the prompt is encoded as a whole, so no draft may follow it in the same pass.
        is_prefix = cache.length == 0 and decoder.config.attention != "causal"
        draft = [] if lookup is None or is_prefix else lookup.propose(max_draft)
        input_BT = torch.cat((pending_BT, pending_BT.new_tensor([draft])), dim=1) if draft else pending_BT
        hidden_BTC = decoder(input_BT, cache)[:, pending_BT.size(1) - 1 :]
        logits_RV = head(hidden_BTC.flatten(0, 1))
        for index, logits_BV in enumerate(logits_RV.view(rows, -1, logits_RV.size(1)).unbind(1)):
            processed_BV = process_logits(logits_processors, logits_BV, text_BT, max_new_tokens - remaining)
            drawn_B1 = sampling.draw(processed_BV, generator)
            if logprobs is not None:
                logprobs.append(token_logprobs(logits_BV, drawn_B1))
            pending_BT = torch.where(is_finished_B.unsqueeze(1), pending_BT[:, -1:], drawn_B1)
            is_finished_B = torch.isin(pending_BT.squeeze(1), stop_ids_S)
            text_BT = torch.cat((text_BT[:, -num_kept:], pending_BT), dim=1)
            remaining -= 1
            yield pending_BT.squeeze(1)
            if stop_ids and bool(is_finished_B.all()):
                return
            if lookup is not None:
                lookup.append(token := int(pending_BT))
                if index < len(draft) and token != draft[index]:
                    cache.drop_last(len(draft) - index)
                    break
