"""Measures of quality, each a torchmetrics metric that is exact under DDP."""

from gpt_lightning.metrics.language import LanguageModelingMetrics

__all__ = ["LanguageModelingMetrics"]
