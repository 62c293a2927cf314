"""Data module for regression: a number for each text."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.batch import SequenceRegressionBatch
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.labels import LabelReader
from gpt_lightning.data.settings import LabeledSettings
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.sources.source import row_value
from gpt_lightning.data.text_classification import LabeledText, TextClassification
from gpt_lightning.errors import InputError
from gpt_lightning.unpack import Unpack


class TextRegression(TextClassification):
    """Texts with one number each, such as a score or a price.

    Args:
        text_column: column with the text. Texts longer than ``block_size`` are truncated.
        text_columns: two columns with a pair of texts, such as ``[first, second]``, in place of ``text_column``. Of
            pairs longer than ``block_size``, the longer text is truncated first.
        label_column: column with the number.
    """

    batch: ClassVar[type] = SequenceRegressionBatch
    takes_from_model: ClassVar[Mapping[str, str]] = Labeled.takes_from_model
    ignored: ClassVar[float] = math.nan

    def __init__(
        self,
        text_column: str = "text",
        text_columns: list[str] | None = None,
        label_column: str = "label",
        **settings: Unpack[LabeledSettings],
    ) -> None:
        super().__init__(
            text_column=text_column,
            text_columns=text_columns,
            label_column=label_column,
            label_columns=None,
            labels=None,
            model_labels=None,
            multi_label=False,
            **settings,
        )

    @cached_property
    def labels(self) -> list[str]:
        """Label names, which numbers do not have."""
        return []

    def target_mean_and_std(self) -> tuple[float, float]:
        """Return the mean and the standard deviation of the training targets; 1 if all targets are equal."""
        targets = np.array([float(example.labels[0]) for example in self.examples("train")])
        return float(targets.mean()), float(targets.std()) or 1.0

    def _row_labels(self, row: Row, reader: LabelReader) -> tuple[str, ...]:
        """Return the number of a row as text."""
        value = row_value(row, self.label_column, "--data.label_column")
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or abs(number) > float(np.finfo(np.float32).max):
            raise InputError(
                f"{row.where}: column {self.label_column!r} is {short_repr(value)}, not a finite number; fix this row"
            )
        return (repr(number),)

    def _target(self, example: LabeledText, ids: dict[str, int]) -> NDArray[np.float32]:
        """Return the number of a text, shape (); NaN if it is to be predicted."""
        return np.array(math.nan if self.stage == "predict" else float(example.labels[0]), dtype=np.float32)
