"""LightningModules: the backbone with a head, a loss and metrics for one task each."""

from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.causal_lm import CausalLM
from gpt_lightning.tasks.question_answering import QuestionAnswering
from gpt_lightning.tasks.sequence_classification import SequenceClassification
from gpt_lightning.tasks.token_classification import TokenClassification

__all__ = ["CausalLM", "QuestionAnswering", "SequenceClassification", "Task", "TokenClassification"]
