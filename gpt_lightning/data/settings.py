"""Arguments that the constructors of data modules relay to their base classes, for type checkers.

``DataModule`` and ``Labeled`` declare and document the arguments and their defaults.
"""

from typing import Literal, TypedDict

from gpt_lightning.data.sources.source import Source

OnBadRow = Literal["stop", "skip"]


class CommonSettings(TypedDict, total=False):
    """Arguments of ``DataModule`` without ``batch_size``, for a data module that has a default of its own for that."""

    train: Source | None
    validation: Source | None
    test: Source | None
    validation_fraction: float
    tokenizer: str
    block_size: int
    num_workers: int
    seed: int | None
    cache_dir: str


class DataSettings(CommonSettings, total=False):
    """Arguments of ``DataModule``."""

    batch_size: int


class LabeledSettings(DataSettings, total=False):
    """Arguments of ``Labeled``."""

    id_column: str
    on_bad_row: OnBadRow
