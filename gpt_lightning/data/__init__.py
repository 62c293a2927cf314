"""LightningDataModules: from files or the hub to batches."""

from gpt_lightning.data.language_modeling import LanguageModeling
from gpt_lightning.data.reading_comprehension import ReadingComprehension
from gpt_lightning.data.sequence_tagging import SequenceTagging
from gpt_lightning.data.text_classification import TextClassification

__all__ = ["LanguageModeling", "ReadingComprehension", "SequenceTagging", "TextClassification"]
