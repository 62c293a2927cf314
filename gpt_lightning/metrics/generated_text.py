"""Metrics of generated texts: BLEU, chrF, ROUGE, exact match, token F1, and the share of complete texts."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor
from torchmetrics.functional.text.rouge import rouge_score

from gpt_lightning.metrics.language import LanguageModelingMetrics
from gpt_lightning.metrics.span import F1_UNIT, exact_match, token_f1

SACREBLEU_METRICS: Final = ("bleu", "chrf")
"""Metrics that need sacrebleu, an optional package."""

_ROUGE_KEYS: Final = ("rouge1", "rouge2", "rougeL")
_COUNTS: Final = ("examples", "complete", "exact_match", "has_rouge")
_F1: Final = ("token_f1", *_ROUGE_KEYS)
"""Sums in units of 1 / ``F1_UNIT``. They are integers, so that the order of batches and ranks has no effect."""
_ROUGE_SIGNATURE: Final = "refs:best|stemmer:no|tokens:a-z0-9|f:1"
NUM_STATISTICS: Final = {"bleu": 10, "chrf": 18}
"""Length of sacrebleu's statistics: two lengths and two counts per n-gram of 1 to 4 words; three per 1 to 6 letters."""


class GenerationMetrics(LanguageModelingMetrics):
    """Metrics of language modeling and, if texts were generated, their comparison with references.

    BLEU (Papineni et al. 2002) and chrF (Popović 2015) are those of sacrebleu over all texts: their statistics are
    summed over batches and ranks, and the score is computed from the sums. Both range from 0 to 100. ROUGE (Lin 2004),
    exact match and token F1 are means over texts, in [0, 1]. For each text, the best of its references counts.
    """

    counts: Tensor
    bleu: Tensor
    chrf: Tensor
    fewest_references: Tensor
    most_references: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(len(_COUNTS) + len(_F1), dtype=torch.int64), dist_reduce_fx="sum")
        for name, size in NUM_STATISTICS.items():
            self.add_state(name, torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("fewest_references", torch.tensor(torch.iinfo(torch.int64).max), dist_reduce_fx="min")
        self.add_state("most_references", torch.tensor(0), dist_reduce_fx="max")

    def add_texts(
        self, texts: Sequence[str], are_complete: Sequence[bool], references: Sequence[Sequence[str]]
    ) -> None:
        """Add generated texts; ``update`` adds the loss of their batch.

        Args:
            texts: generated texts.
            are_complete: whether each text ended by itself, not at the maximum length.
            references: correct texts for each text, at least one.
        """
        self._computed = None  # clears the result that torchmetrics caches
        for text, is_complete, correct in zip(texts, are_complete, references, strict=True):
            rouge = [float(value) for value in _rouge(text, correct)]
            f1 = [round(value * F1_UNIT) for value in (token_f1(text, correct), *rouge)]
            has_rouge = any(_has_rouge_word(each) for each in correct)
            counts = [1, is_complete, int(exact_match(text, correct)), has_rouge, *f1]
            self.counts = self.counts + self.counts.new_tensor(counts)
            for name, scorer in (sacrebleu_scorers() or {}).items():
                (statistics,) = scorer._extract_corpus_statistics([text], [[each] for each in correct])
                setattr(self, name, getattr(self, name) + self.counts.new_tensor(statistics))
            self.fewest_references = self.fewest_references.clamp(max=len(correct))
            self.most_references = self.most_references.clamp(min=len(correct))

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of language modeling and, if there are texts, those of the texts.

        Returns:
            ``bleu`` and ``chrf`` in [0, 100] if sacrebleu is installed. ``rouge1``, ``rouge2`` and ``rougeL`` in [0, 1]
            if a reference has words of the letters a to z or digits; ROUGE ignores all other characters.
            ``exact_match`` and ``token_f1`` in [0, 1], as SQuAD defines them. ``complete``: share of the texts that
            ended by themselves. ``references``: (3,) int64, number of texts, and the lowest and highest number of
            references.
        """
        values = super().compute()
        counts = dict(zip((*_COUNTS, *_F1), self.counts.tolist(), strict=True))
        num_texts = counts["examples"]
        if not num_texts:
            return values
        scores = {
            name: float(scorer._compute_score_from_stats(getattr(self, name).tolist()).score)
            for name, scorer in (sacrebleu_scorers() or {}).items()
        }
        scores |= {name: counts[name] / F1_UNIT / num_texts for name in (_ROUGE_KEYS if counts["has_rouge"] else ())}
        scores |= {
            "exact_match": counts["exact_match"] / num_texts,
            "token_f1": counts["token_f1"] / F1_UNIT / num_texts,
            "complete": counts["complete"] / num_texts,
        }
        references = torch.stack([self.counts[0], self.fewest_references, self.most_references])
        scalars = self.to_float32({name: torch.tensor(score, dtype=torch.float64) for name, score in scores.items()})
        return {**values, **scalars, "references": references}


@cache
def sacrebleu_scorers() -> dict[str, Any] | None:
    """Return sacrebleu's scorers by the names of ``SACREBLEU_METRICS``; None if it is not installed."""
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        return None
    return {"bleu": BLEU(), "chrf": CHRF()}


def signatures(fewest_references: int, most_references: int) -> dict[str, str]:
    """Return the signatures of BLEU and chrF from sacrebleu, and one in the same format for ROUGE.

    Args:
        fewest_references: lowest number of references of a text.
        most_references: highest number.
    """
    result = {}
    for name, scorer in (sacrebleu_scorers() or {}).items():
        scorer.num_refs = most_references if fewest_references == most_references else -1
        result[name] = str(scorer.get_signature())
    return {**result, "rouge": _ROUGE_SIGNATURE}


def _rouge(text: str, references: Sequence[str]) -> list[Tensor]:
    """Return the F-measure of ROUGE-1, -2 and -L with the best reference for each."""
    scores = rouge_score(text, list(references), accumulate="best", rouge_keys=_ROUGE_KEYS)
    return [scores[f"{key}_fmeasure"] for key in _ROUGE_KEYS]


def _has_rouge_word(text: str) -> bool:
    return any(letter.isascii() and letter.isalnum() for letter in text)
