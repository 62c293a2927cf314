"""Data modules whose evaluation batches have references, and the examples that a task answered."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

import lightning.pytorch as L
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from gpt_lightning.errors import InputError
from gpt_lightning.metrics.generated_text import SACREBLEU_METRICS, sacrebleu_scorers
from gpt_lightning.tokenizers.tokenizer import Tokenizer


class AnswerData(Protocol):
    """Attributes of data modules whose evaluation batches have ``references``."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer that decodes the answers."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""

    @property
    def max_new_tokens(self) -> int:
        """Maximum number of tokens in an answer."""

    @property
    def generate_examples(self) -> int:
        """Maximum number of answers that an evaluation generates; 0 generates none."""


class AnsweredExample(NamedTuple):
    """Generated answer with its source and references."""

    source: str
    references: Sequence[str]
    answer: str
    is_complete: bool
    """True if the answer ended by itself, not at the maximum number of tokens."""
    id: str | None = None


def find_answer_data(trainer: L.Trainer, stage: str) -> AnswerData | None:
    """Return the Trainer's data module if it describes how to generate answers, and check that the run can do so.

    Args:
        trainer: the running Trainer.
        stage: ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        InputError: the strategy shards the model, or a callback monitors a metric that needs sacrebleu.
    """
    datamodule = getattr(trainer, "datamodule", None)
    if not hasattr(datamodule, "generate_examples"):
        return None
    data = cast(AnswerData, datamodule)
    if stage != "predict" and not data.generate_examples:
        return data
    if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
        raise InputError(
            f"trainer.strategy {type(trainer.strategy).__name__} shards the model, but each device needs all of it to "
            "generate answers. Use ddp, or --data.generate_examples=0 to evaluate without generating"
        )
    if stage != "predict" and sacrebleu_scorers() is None:
        _report_missing_sacrebleu(trainer)
    return data


def _report_missing_sacrebleu(trainer: L.Trainer) -> None:
    """Print which metrics are left out. Refuse the run if a callback monitors one of them."""
    remedy = "sacrebleu is not installed. Install it: pip install 'gpt-lightning[generation]'"
    names = {f"val/{name}" for name in SACREBLEU_METRICS}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if (monitor := getattr(callback, "monitor", None)) in names:
            raise InputError(f"{type(callback).__name__} monitors {monitor}, but {remedy}")
    if trainer.is_global_zero:
        print(f"BLEU and chrF are left out, because {remedy}", flush=True)
