"""Continuations of prompts by a task that generates text, and its tokenizer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.answers import generate_answers
from gpt_lightning.models.generation.decoder import TextDecoder
from gpt_lightning.models.generation.decoding import Decoding
from gpt_lightning.models.generation.generate import generate
from gpt_lightning.models.generation.source_decoder import SourceDecoder, num_forced
from gpt_lightning.tokenizers.stop_strings import stop_checker, until_stop
from gpt_lightning.tokenizers.tokenizer import Tokenizer


@runtime_checkable
class GenerativeTask(Protocol):
    """Task that generates text, such as a ``CausalLM`` or a ``Seq2SeqLM``."""

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        """Output layer, from hidden states to logits."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    def text_decoder(self, prompts: Sequence[Sequence[int]]) -> tuple[TextDecoder, Sequence[Sequence[int]]]:
        """Return the model for the generation loops, and the ids that the new tokens of each prompt follow.

        Args:
            prompts: token ids, at least one for each prompt.
        """


class Completion(NamedTuple):
    """Continuation of a prompt."""

    text: str
    """New text, up to the first stop string."""
    finish_reason: Literal["stop", "length"]
    """``stop`` if the text ended by itself or before a stop string, ``length`` if it reached the number of tokens."""
    token_ids: list[int]
    """New tokens, without the end token. Those of a stop string are included."""
    logprobs: Sequence[float]
    """Log-probability of each new token in nats, before temperature and penalties; empty unless requested."""


def continuation(
    task: GenerativeTask, tokenizer: Tokenizer, prompt_ids: Sequence[int], decoding: Decoding, *, seed: int
) -> Iterator[str]:
    """Yield the continuation of a prompt in pieces, as it is generated; beam search yields it as a whole.

    It ends with an end token of the model or before a stop string. The global random state of torch stays unchanged.

    Args:
        task: task in ``eval`` mode.
        tokenizer: tokenizer of the task.
        prompt_ids: token ids of the prompt, at least one.
        decoding: settings of decoding. Stop strings that are special tokens are not part of the text, but end it too.
        seed: random seed; the same seed gives the same text.
    """
    if decoding.num_beams > 1:
        return (best.text for best, *_ in completions(task, tokenizer, [prompt_ids], decoding))
    decoder, (start_ids,) = task.text_decoder([prompt_ids])
    decoding = _fitting(decoding, decoder, [start_ids])
    stop_ids = _stop_ids(tokenizer, decoding)
    tokens = generate(
        decoder,
        task.head,
        torch.tensor([list(start_ids)], device=task.device),
        max_new_tokens=decoding.max_new_tokens,
        sampling=decoding.sampling,
        stop_ids=stop_ids,
        generator=torch.Generator(task.device).manual_seed(seed),
        logits_processors=decoding.logits_processors(stop_ids),
    )
    return until_stop(tokenizer.decode_stream(map(int, tokens), context=start_ids), decoding.stop)


def completions(
    task: GenerativeTask,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 1,
    with_logprobs: bool = False,
) -> Iterator[list[Completion]]:
    """Yield the continuations of each prompt; each is that of ``continuation``, except for rounding in batches.

    Args:
        task: task in ``eval`` mode.
        tokenizer: tokenizer of the task.
        prompts: token ids, at least one for each prompt.
        decoding: settings of decoding.
        samples: number of continuations of each prompt. Beam search gives its best ones, fewer if it finds no more.
        seed: random seed of the first sample of each prompt; further samples take the next seeds.
        batch_size: number of continuations that are generated at the same time; beam search counts prompts. With 1,
            a text may be longer than the context of the model, and uses speculative decoding.
        with_logprobs: return the log-probabilities of the new tokens.

    Raises:
        InputError: a prompt and its new tokens do not fit the context of the model, or the logits are not finite.
    """
    stop_ids = _stop_ids(tokenizer, decoding)
    repeats = 1 if decoding.num_beams > 1 else samples
    rows = [(prompt, seed + sample) for prompt in prompts for sample in range(repeats)]
    found: list[Completion] = []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        decoder, start_ids = task.text_decoder([prompt for prompt, _ in batch])
        answers = generate_answers(
            decoder,
            task.head,
            start_ids,
            _fitting(decoding, decoder, start_ids),
            generators=[torch.Generator(task.device).manual_seed(seed) for _, seed in batch],
            stop_ids=stop_ids,
            is_finished=stop_checker(tokenizer.decode, decoding.stop) if decoding.stop else None,
            with_logprobs=with_logprobs,
        )
        for ids, best in zip(start_ids, answers, strict=True):
            found += [_completion(tokenizer, ids, answer, decoding.stop) for answer in best[:samples]]
            if not with_logprobs:
                found = [each._replace(logprobs=()) for each in found]
            if decoding.num_beams > 1 or len(found) == samples:
                yield found
                found = []


def _fitting(decoding: Decoding, decoder: TextDecoder, start_ids: Sequence[Sequence[int]]) -> Decoding:
    """Limit the numbers of new tokens to the context of an encoder-decoder, and count its forced tokens as new."""
    if not isinstance(decoder, SourceDecoder):
        return decoding
    room = decoder.config.block_size - max(map(len, start_ids))
    forced = num_forced(decoder, start_ids)
    most = max(1, min(decoding.max_new_tokens - forced, room))
    least = max(0, min(decoding.min_new_tokens - forced, most))
    return replace(decoding, max_new_tokens=most, min_new_tokens=least)


def _stop_ids(tokenizer: Tokenizer, decoding: Decoding) -> frozenset[int]:
    """Return the end tokens of the model, and the stop strings that are special tokens."""
    special_ids = (tokenizer.special_id(text) for text in decoding.stop)
    return tokenizer.end_ids.union(index for index in special_ids if index is not None)


def _completion(tokenizer: Tokenizer, start_ids: Sequence[int], answer: Answer, stops: Sequence[str]) -> Completion:
    # An end token that is not a special token is part of the text, as in transformers.
    ids = answer.ids if answer.stop_id is None else [*answer.ids, answer.stop_id]
    pieces = list(tokenizer.decode_stream(ids, context=start_ids))
    text = "".join(until_stop(pieces, stops))
    is_stopped = answer.is_complete or text != "".join(pieces)
    return Completion(text, "stop" if is_stopped else "length", answer.ids, answer.logprobs)
