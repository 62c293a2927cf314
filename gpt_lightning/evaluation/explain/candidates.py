"""Most probable tokens at a position, with their texts.

N positions, V vocabulary, K candidates.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gpt_lightning.tasks.finite import require_finite
from gpt_lightning.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Candidate:
    """Token that the model may predict.

    Attributes:
        id: token id.
        text: text of the token, or its name in the vocabulary if it is not text by itself.
        probability: its probability.
    """

    id: int
    text: str
    probability: float


class TokenTexts:
    """Texts of single tokens inside of a text.

    Args:
        tokenizer: tokenizer of the model.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._context = tokenizer.encode("a")  # decoders drop a blank at the start of a text
        self._texts: dict[int, str] = {}

    def __call__(self, index: int) -> str:
        """Return the text of a token; for special tokens and parts of characters, its name in the vocabulary."""
        if index not in self._texts:
            text = "".join(self._tokenizer.decode_stream([index], context=self._context))
            if not text or "\ufffd" in text:
                text = self._tokenizer.token(index) if self._tokenizer.has_token(index) else f"<id {index}>"
            self._texts[index] = text
        return self._texts[index]


def candidates(log_p_NV: Tensor, count: int, texts: TokenTexts) -> list[list[Candidate]]:
    """Return the most probable tokens of each position, the most probable first.

    Args:
        log_p_NV: log-probabilities.
        count: K, the number of candidates, at most V.
        texts: texts of tokens.
    """
    log_p_NK, ids_NK = log_p_NV.topk(min(count, log_p_NV.size(1)), dim=1)
    return [
        [Candidate(index, texts(index), probability) for index, probability in zip(ids, row, strict=True)]
        for ids, row in zip(ids_NK.tolist(), log_p_NK.exp().tolist(), strict=True)
    ]


def ranks(log_p_NV: Tensor, targets_N: Tensor) -> list[int]:
    """Return the rank of each target among all tokens, from 1; tokens of equal probability have the better rank."""
    return (1 + (log_p_NV > log_p_NV.gather(1, targets_N.unsqueeze(1))).sum(1)).tolist()


def log_probabilities(logits: Tensor) -> Tensor:
    """Return log-probabilities in float32, or in float64 for logits in float64.

    Raises:
        RunError: a logit is not finite.
    """
    require_finite(logits, ())
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
