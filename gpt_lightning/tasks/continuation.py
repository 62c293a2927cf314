"""Continuation of a prompt, or target of a source, by a model and its tokenizer."""

from collections.abc import Iterator, Sequence

import torch

from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.models.generation.source_decoder import SourceDecoder
from gpt_lightning.tasks.causal_lm import CausalLM
from gpt_lightning.tasks.seq2seq_lm import Seq2SeqLM
from gpt_lightning.tokenizers.stop_strings import until_stop
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def continuation(
    task: CausalLM | Seq2SeqLM,
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
        task: language model or encoder-decoder in ``eval`` mode.
        tokenizer: tokenizer of the task.
        prompt_ids: token ids of the prompt, at least one; of an encoder-decoder, those of the source.
        max_new_tokens: maximum number of new tokens. The target of an encoder-decoder has at most ``block_size``.
        sampling: temperature, top-k and top-p.
        seed: random seed; the same seed gives the same text.
        stop: strings that end the continuation. Special tokens are not part of its text, but end it too.

    Raises:
        InputError: a stop string is empty.
    """
    special_ids = [index for text in stop if (index := tokenizer.special_id(text)) is not None]
    decoder, starts = task.text_decoder([prompt_ids], tokenizer.end_of_text_id)
    if isinstance(decoder, SourceDecoder):
        prompt_ids = starts[0]
        max_new_tokens = min(max_new_tokens, decoder.config.block_size - len(prompt_ids))
    tokens = generate(
        decoder,
        task.head,
        torch.tensor([list(starts[0])], device=task.device),
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        stop_ids=tokenizer.end_ids.union(special_ids),
        generator=torch.Generator(task.device).manual_seed(seed),
    )
    return until_stop(tokenizer.decode_stream(map(int, tokens), context=prompt_ids), stop)
