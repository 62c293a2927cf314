"""Continuation of a prompt by a language model and its tokenizer."""

from collections.abc import Iterator, Sequence

import torch

from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.tasks.causal_lm import CausalLM
from gpt_lightning.tokenizers.stop_strings import until_stop
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def continuation(
    task: CausalLM,
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int,
    stop: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the continuation of a prompt in pieces, as it is generated.

    It ends before an end token of the model or a stop string. The global random state of torch stays unchanged.

    Args:
        task: language model in ``eval`` mode.
        tokenizer: tokenizer of the task.
        prompt_ids: token ids of the prompt, at least one.
        max_new_tokens: maximum number of new tokens.
        sampling: temperature, top-k and top-p.
        seed: random seed; the same seed gives the same text.
        stop: strings that end the continuation. Special tokens are not part of its text, but end it too.

    Raises:
        InputError: a stop string is empty.
    """
    special_ids = [index for text in stop if (index := tokenizer.special_id(text)) is not None]
    tokens = generate(
        Decoder(task.backbone),
        task.head,
        torch.tensor([list(prompt_ids)], device=task.device),
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        stop_ids=tokenizer.end_ids.union(special_ids),
        generator=torch.Generator(task.device).manual_seed(seed),
    )
    return until_stop(tokenizer.decode_stream(map(int, tokens), context=prompt_ids), stop)
