"""Types of the arguments that constructors of data modules pass on to their base classes, for type checkers.

``DataModule`` and ``Labeled`` declare and document these arguments and their defaults.
"""

from typing import TypedDict

from gpt_lightning.data.sources.bad_rows import OnBadRow
from gpt_lightning.data.sources.source import Source
from gpt_lightning.tokenizers.layout import InputLayout


class CommonSettings(TypedDict, total=False):
    """Arguments of ``DataModule`` without ``batch_size``, for data modules with another default batch size."""

    train: Source | None
    validation: float | Source | None
    test: Source | None
    validation_fraction: float
    without: Source | None
    delimiter: str | None
    encoding: str | None
    tokenizer: str
    block_size: int
    num_workers: int
    seed: int | None
    cache_dir: str


class DataSettings(CommonSettings, total=False):
    """Arguments of ``DataModule``."""

    batch_size: int


class RowSettings(DataSettings, total=False):
    """Arguments of ``Labeled`` for rows whose format a chat template determines."""

    id_column: str
    on_bad_row: OnBadRow


class LabeledSettings(RowSettings, total=False):
    """Arguments of ``Labeled``."""

    layout: InputLayout
    counterfactual_swaps: str | None
