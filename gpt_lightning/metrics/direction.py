"""Direction of the metrics: whether a lower or a higher value is better."""

from typing import Final, Literal

LOWER_IS_BETTER: Final = frozenset({"loss", "perplexity", "bits_per_byte", "mse", "mae"})
HIGHER_IS_BETTER: Final = frozenset(
    {
        *("accuracy", "macro_f1", "weighted_f1", "micro_f1", "mean_average_precision"),
        *("entity_precision", "entity_recall", "entity_f1", "entity_macro_f1", "token_accuracy"),
        *("exact_match", "answer_f1", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "complete"),
        *("pearson", "spearman"),
    }
)


def best_mode(tag: str) -> Literal["min", "max"] | None:
    """Return the ``mode`` for a callback that monitors a metric, such as ``val/loss``; None for unknown metrics."""
    name = tag.rpartition("/")[2]
    if name in LOWER_IS_BETTER:
        return "min"
    return "max" if name in HIGHER_IS_BETTER else None
