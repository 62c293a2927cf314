"""Predictions for rows, read by the data module of the model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import torch

from gpt_lightning.api.inputs import json_lines
from gpt_lightning.checkpoints.run_config import RememberedSettings
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.sources.row_formats import without_surrogates
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.data_module import data_module_for
from gpt_lightning.tasks import CausalLM, QuestionAnswering, Seq2SeqLM, Task
from gpt_lightning.tasks.answer_data import AnswerData
from gpt_lightning.tasks.prediction_rows import with_texts
from gpt_lightning.tasks.saving import accepted_arguments
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_OF_FILES: Final = ("delimiter", "encoding")
"""Settings of files, which rows from Python do not need."""


def check_predicts(task: Task, kind: type[DataModule] | None) -> None:
    """Check that a task predicts labels, or that its data module makes prompts that it answers.

    Raises:
        InputError: the task is a language model that was not trained to answer prompts.
    """
    if isinstance(task, CausalLM | Seq2SeqLM) and not (
        kind is not None and "generate_examples" in accepted_arguments(kind)
    ):
        remedy = "generate or score" if isinstance(task, CausalLM) else "generate or complete"
        raise InputError(f"a {type(task).__name__} has no labels to predict. Use {remedy}")


@torch.inference_mode()
def predict(task: Task, module: DataModule) -> list[dict[str, Any]]:
    """Return a prediction for each row of the data module."""
    module.prepare_data()
    module.setup("predict")
    if hasattr(module, "generate_examples"):
        task.answer_data = cast(AnswerData, module)
    records: list[dict[str, Any]] = []
    for number, batch in enumerate(module.predict_dataloader()):
        batch_on_device = module.transfer_batch_to_device(batch, task.device, 0)
        records += with_texts(task.predict_step(batch_on_device, number), batch)
    return records


@contextmanager
def open_rows(
    task: Task,
    tokenizer: Tokenizer,
    kind: type[DataModule] | None,
    data_settings: RememberedSettings,
    rows: Path | Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> Iterator[DataModule]:
    """Yield the data module of rows; its temporary files are deleted at the end of the ``with`` block.

    Args:
        task: task that reads the rows.
        tokenizer: tokenizer of the task.
        kind: class of the data module.
        data_settings: how the rows that the task was trained on were read.
        rows: the rows, or a file of them.
        settings: other arguments of the data module.

    Raises:
        InputError: there is no data module, or a row cannot be read.
    """
    if kind is None:
        raise InputError(
            f"gpt_lightning has no data module for the batches of {type(task).__name__}. "
            "Set model.data_module to your own class"
        )
    with TemporaryDirectory() as folder:
        file, tokenizer_file = Path(folder, "rows.jsonl"), Path(folder, "tokenizer.json")
        if isinstance(rows, Path):
            file = rows
        else:
            file.write_text(json_lines(rows), encoding="utf-8")
            data_settings = {name: value for name, value in data_settings.items() if name not in _OF_FILES}
        tokenizer.save(tokenizer_file)
        fixed = {"test": str(file), "tokenizer": str(tokenizer_file), "cache_dir": folder}
        yield data_module_for(task, kind, data_settings, {**fixed, **settings})


def text_row(task: Task, data_settings: RememberedSettings, text: str) -> dict[str, str]:
    """Return a text as a row that the data module reads.

    Raises:
        InputError: a row has two texts.
    """
    if isinstance(task, QuestionAnswering):
        raise InputError('question answering needs two texts. Give a row {"question": ..., "context": ...}')
    if isinstance(names := data_settings.get("text_columns"), list):
        raise InputError(f"the model reads two texts. Give a row with the columns {' and '.join(map(str, names))}")
    column = "prompt" if isinstance(task, CausalLM | Seq2SeqLM) else data_settings.get("text_column", "text")
    return {str(column): without_surrogates(text)}
