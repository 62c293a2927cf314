"""Pretrain a GPT on your text and fine-tune it for your tasks, from YAML, on Lightning."""

import importlib

TYPE_CHECKING = False  # True to type checkers; importing typing takes a tenth of the time of --help
if TYPE_CHECKING:
    from gpt_lightning.api import Model as Model
    from gpt_lightning.api import load as load
    from gpt_lightning.data import InstructionTuning as InstructionTuning
    from gpt_lightning.data import LanguageModeling as LanguageModeling
    from gpt_lightning.data import ReadingComprehension as ReadingComprehension
    from gpt_lightning.data import SequenceTagging as SequenceTagging
    from gpt_lightning.data import TextClassification as TextClassification
    from gpt_lightning.data import TextRegression as TextRegression
    from gpt_lightning.data import TextToText as TextToText
    from gpt_lightning.models import GPT as GPT
    from gpt_lightning.models import GPTConfig as GPTConfig
    from gpt_lightning.models.lora import LoRA as LoRA
    from gpt_lightning.optim import FineTuning as FineTuning
    from gpt_lightning.optim import OptimizerConfig as OptimizerConfig
    from gpt_lightning.optim import Schedule as Schedule
    from gpt_lightning.tasks import CausalLM as CausalLM
    from gpt_lightning.tasks import QuestionAnswering as QuestionAnswering
    from gpt_lightning.tasks import Seq2SeqLM as Seq2SeqLM
    from gpt_lightning.tasks import SequenceClassification as SequenceClassification
    from gpt_lightning.tasks import SequenceRegression as SequenceRegression
    from gpt_lightning.tasks import Task as Task
    from gpt_lightning.tasks import TokenClassification as TokenClassification

__version__ = "0.2.0"

_HOMES = {
    "api": ("Model", "load"),
    "data": (
        "InstructionTuning",
        "LanguageModeling",
        "ReadingComprehension",
        "SequenceTagging",
        "TextClassification",
        "TextRegression",
        "TextToText",
    ),
    "models": ("GPT", "GPTConfig"),
    "models.lora": ("LoRA",),
    "optim": ("FineTuning", "OptimizerConfig", "Schedule"),
    "tasks": (
        "CausalLM",
        "QuestionAnswering",
        "Seq2SeqLM",
        "SequenceClassification",
        "SequenceRegression",
        "Task",
        "TokenClassification",
    ),
}
"""Module -> the public names that it defines; it is imported when one of them is first used."""


__all__ = [name for names in _HOMES.values() for name in names]

if not TYPE_CHECKING:  # so that type checkers report names that do not exist

    def __getattr__(name):
        for module, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(f"gpt_lightning.{module}"), name)
        raise AttributeError(f"module 'gpt_lightning' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
