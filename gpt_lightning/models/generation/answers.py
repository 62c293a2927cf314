"""Complete texts for prompts, with the generation loop that the settings need."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.beam_search import beam_search
from gpt_lightning.models.generation.decoder import TextDecoder
from gpt_lightning.models.generation.decoding import Decoding
from gpt_lightning.models.generation.generate import generate
from gpt_lightning.models.generation.source_decoder import num_forced


def generate_answers(
    decoder: TextDecoder,
    head: Callable[[Tensor], Tensor],
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    generators: Sequence[torch.Generator],
    stop_ids: Collection[int] = (),
    is_finished: Callable[[list[int]], bool] | None = None,
    with_logprobs: bool = False,
) -> list[list[Answer]]:
    """Return the answers to each prompt, best first. Only beam search gives several answers.

    A single prompt uses speculative decoding, and its text may be longer than the context of the model. If there are
    several prompts, each must fit the context together with its new tokens.

    Args:
        decoder: the model, such as a ``Decoder`` of a backbone in ``eval`` mode.
        head: maps hidden states (B, C) to logits (B, V).
        prompts: token ids, at least one for each prompt.
        decoding: settings of decoding. Its stop strings have no effect without ``is_finished``.
        generators: random number generator of each prompt, on the device of the model.
        stop_ids: tokens that complete an answer.
        is_finished: returns True if the new tokens of an answer complete it; called after each token.
        with_logprobs: return the log-probabilities of the new tokens.

    Raises:
        InputError: a prompt and its new tokens do not fit the context, or the logits are not finite.
    """
    logits_processors = decoding.logits_processors(stop_ids)
    if decoding.num_beams > 1:
        return beam_search(
            decoder,
            head,
            prompts,
            max_new_tokens=decoding.max_new_tokens,
            num_beams=decoding.num_beams,
            length_penalty=decoding.length_penalty,
            num_forced=num_forced(decoder, prompts),
            early_stopping=decoding.early_stopping,
            stop_ids=stop_ids,
            is_finished=is_finished,
            logits_processors=logits_processors,
        )
    if len(prompts) > 1:
        answers = generate_batched(
            decoder,
            head,
            prompts,
            max_new_tokens=decoding.max_new_tokens,
            sampling=decoding.sampling,
            stop_ids=stop_ids,
            is_finished=is_finished,
            generator=generators,
            logits_processors=logits_processors,
            with_logprobs=with_logprobs,
        )
        return [[answer] for answer in answers]
    ids, logprobs = list[int](), list[Tensor]()
    steps = generate(
        decoder,
        head,
        torch.tensor([list(prompts[0])], device=generators[0].device),
        max_new_tokens=decoding.max_new_tokens,
        sampling=decoding.sampling,
        stop_ids=stop_ids,
        generator=generators[0],
        logits_processors=logits_processors,
        logprobs=logprobs if with_logprobs else None,
    )
    is_complete, stop_id = False, None
    for token in map(int, steps):
        if token in stop_ids:
            is_complete, stop_id = True, token
            break
        ids.append(token)
        if is_finished is not None and is_finished(ids):
            is_complete = True
            break
    values = torch.cat(logprobs).tolist()[: len(ids)] if logprobs else []
    return [[Answer(ids, is_complete, tuple(values), stop_id)]]
