"""Pretrain a GPT on your text and fine-tune it for your tasks, from YAML, on Lightning."""

import importlib

TYPE_CHECKING = False  # True to type checkers; importing typing takes a tenth of the time of --help
if TYPE_CHECKING:
    from gpt_lightning.api import Model, load
    from gpt_lightning.data import LanguageModeling, ReadingComprehension, SequenceTagging, TextClassification
    from gpt_lightning.models import GPT, GPTConfig
    from gpt_lightning.models.lora import LoRA
    from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule
    from gpt_lightning.tasks import CausalLM, QuestionAnswering, SequenceClassification, Task, TokenClassification

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "CausalLM",
    "FineTuning",
    "GPTConfig",
    "LanguageModeling",
    "LoRA",
    "Model",
    "OptimizerConfig",
    "QuestionAnswering",
    "ReadingComprehension",
    "Schedule",
    "SequenceClassification",
    "SequenceTagging",
    "Task",
    "TextClassification",
    "TokenClassification",
    "load",
]

_HOMES = {
    "api": ("Model", "load"),
    "data": ("LanguageModeling", "ReadingComprehension", "SequenceTagging", "TextClassification"),
    "models": ("GPT", "GPTConfig"),
    "models.lora": ("LoRA",),
    "optim": ("FineTuning", "OptimizerConfig", "Schedule"),
    "tasks": ("CausalLM", "QuestionAnswering", "SequenceClassification", "Task", "TokenClassification"),
}
"""Module -> the public names that it defines; it is imported when one of them is first used."""


if not TYPE_CHECKING:  # so that type checkers report names that do not exist

    def __getattr__(name):
        for module, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(f"gpt_lightning.{module}"), name)
        raise AttributeError(f"module 'gpt_lightning' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
