"""Continuation of a prompt by a language model and its tokenizer."""

from collections.abc import Iterator, Sequence

import torch

from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.tasks.causal_lm import CausalLM
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def continuation(
    task: CausalLM,
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int,
) -> Iterator[str]:
    """Yield the continuation of a prompt in pieces, as it is generated.

    The global random state of torch stays unchanged.

    Args:
        task: language model in ``eval`` mode.
        tokenizer: tokenizer of the task.
        prompt_ids: token ids of the prompt; an empty sequence starts a new document.
        max_new_tokens: maximum number of new tokens.
        sampling: temperature, top-k and top-p.
        seed: random seed; the same seed gives the same text.
    """
    tokens = generate(
        task.backbone,
        task.head,
        torch.tensor([list(prompt_ids) or [tokenizer.end_of_text_id]], device=task.device),
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        stop_id=tokenizer.end_of_text_id,
        generator=torch.Generator(task.device).manual_seed(seed),
    )
    return tokenizer.decode_stream(int(token) for token in tokens)
