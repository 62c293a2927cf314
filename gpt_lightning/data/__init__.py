"""LightningDataModules, which turn files or hub datasets into batches."""

from gpt_lightning.data.instruction_tuning import InstructionTuning as InstructionTuning
from gpt_lightning.data.language_modeling import LanguageModeling as LanguageModeling
from gpt_lightning.data.reading_comprehension import ReadingComprehension as ReadingComprehension
from gpt_lightning.data.sequence_tagging import SequenceTagging as SequenceTagging
from gpt_lightning.data.text_classification import TextClassification as TextClassification
from gpt_lightning.data.text_regression import TextRegression as TextRegression
from gpt_lightning.data.text_to_text import TextToText as TextToText

__all__ = [name for name, value in vars().items() if isinstance(value, type)]
