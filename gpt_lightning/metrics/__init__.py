"""Measures of quality, each a torchmetrics metric that is exact under DDP."""

from gpt_lightning.metrics.classification import ClassificationMetrics, MultiLabelMetrics
from gpt_lightning.metrics.entity_f1 import EntityMetrics
from gpt_lightning.metrics.language import LanguageModelingMetrics
from gpt_lightning.metrics.loss import TrainingLoss
from gpt_lightning.metrics.span import SpanMetrics

__all__ = [
    "ClassificationMetrics",
    "EntityMetrics",
    "LanguageModelingMetrics",
    "MultiLabelMetrics",
    "SpanMetrics",
    "TrainingLoss",
]
