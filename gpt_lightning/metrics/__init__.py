"""Metrics of each task, built on torchmetrics and exact under DDP."""

from gpt_lightning.metrics.classification import ClassificationMetrics as ClassificationMetrics
from gpt_lightning.metrics.classification import MultiLabelMetrics as MultiLabelMetrics
from gpt_lightning.metrics.entity_f1 import EntityMetrics as EntityMetrics
from gpt_lightning.metrics.generated_text import GenerationMetrics as GenerationMetrics
from gpt_lightning.metrics.language import LanguageModelingMetrics as LanguageModelingMetrics
from gpt_lightning.metrics.loss import TrainingLoss as TrainingLoss
from gpt_lightning.metrics.regression import RegressionMetrics as RegressionMetrics
from gpt_lightning.metrics.span import SpanMetrics as SpanMetrics
