"""LightningModules: the backbone with a head, a loss and metrics for one task each."""

from typing import Final

from gpt_lightning.tasks.base import Task as Task
from gpt_lightning.tasks.causal_lm import CausalLM as CausalLM
from gpt_lightning.tasks.question_answering import QuestionAnswering as QuestionAnswering
from gpt_lightning.tasks.seq2seq_lm import Seq2SeqLM as Seq2SeqLM
from gpt_lightning.tasks.sequence_classification import SequenceClassification as SequenceClassification
from gpt_lightning.tasks.sequence_regression import SequenceRegression as SequenceRegression
from gpt_lightning.tasks.token_classification import TokenClassification as TokenClassification

__all__ = [name for name, value in vars().items() if isinstance(value, type)]

CONCRETE: Final[tuple[type[Task], ...]] = tuple(
    value for value in vars().values() if isinstance(value, type) and value is not Task
)
"""Tasks that can be trained, which are all but the abstract base."""
