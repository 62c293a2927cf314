"""Likelihood of whole texts under a language model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpt_lightning.evaluation.lm_eval.scoring import Continuation, score
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class TextScore:
    """Likelihood of one text.

    Attributes:
        nll: negative log-likelihood of all tokens, in nats.
        num_tokens: number of tokens.
        num_bytes: number of UTF-8 bytes.
    """

    nll: float
    num_tokens: int
    num_bytes: int

    @property
    def bits_per_byte(self) -> float:
        """``nll`` in bits, per byte of text: comparable between tokenizers; NaN for an empty text."""
        return self.nll / math.log(2) / self.num_bytes if self.num_bytes else math.nan


def score_texts(
    task: CausalLM, tokenizer: Tokenizer, texts: Sequence[str], batch_tokens: int = 2048
) -> list[TextScore]:
    """Score each text as a separate document, predicting every token once.

    Args:
        task: language model in ``eval`` mode.
        tokenizer: tokenizer of the task.
        texts: texts of any length; those that exceed ``block_size`` are scored in consecutive windows.
        batch_tokens: maximum number of tokens in a batch, including padding.
    """
    encoded = tokenizer.encode_batch(list(texts))
    windows = [
        (number, window)
        for number, ids in enumerate(encoded)
        for window in rolling_windows(ids.tolist(), tokenizer.begin_of_text_id, task.backbone.config.block_size)
    ]
    nll = [0.0] * len(texts)
    for index, result in score(task, [window for _, window in windows], batch_tokens):
        nll[windows[index][0]] -= result.log_probability
    return [TextScore(nll[number], len(encoded[number]), len(text.encode())) for number, text in enumerate(texts)]


def rolling_windows(ids: Sequence[int], prefix_id: int, block_size: int) -> Iterator[Continuation]:
    """Cut a text into windows of at most ``block_size`` predicted tokens, each with the context that fits.

    The first token follows ``prefix_id``. A full window has one token of context; the last one, if shorter, has more.
    """
    for start in range(0, len(ids), block_size):
        tokens = ids[start : start + block_size]
        room = block_size + 1 - len(tokens)  # the last token is predicted, not read
        context = ids[max(0, start - room) : start] if start else [prefix_id]
        yield Continuation(context, tokens)
