"""Statistics of each tested row, and the scores that are functions of their sums.

The sums over any choice of rows give the score of these rows, so that a bootstrap needs no second test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gpt_lightning.metrics.direction import best_mode

# N rows, K statistics
Floats = NDArray[np.float64]
Columns = Mapping[str, Floats]
"""Name of a statistic -> its value for each row, (N,)."""

MAX_ROWS: Final = 1_000_000
"""Number of rows whose statistics are kept; later rows are left out of the intervals."""


def _statistics(columns: Columns, names: Sequence[str]) -> Floats:
    return np.stack([columns[name] for name in names], axis=1)


@dataclass(frozen=True)
class RowScore:
    """Score that is a function of sums over rows.

    Attributes:
        name: name of the metric that tests log.
        columns: statistics that the score needs.
        formula: function from their sums, (..., K), to scores, (...).
        counted: statistic that is 0 for rows without a part in the score, such as rows without a label.
        is_share: True for scores from 0 to 1, whose differences are given in points, hundredths.
        statistics: function from the columns of the counted rows to their statistics, (N, K).
    """

    name: str
    columns: tuple[str, ...]
    formula: Callable[[Floats], Floats]
    counted: str = "rows"
    is_share: bool = True
    statistics: Callable[[Columns, Sequence[str]], Floats] = _statistics

    @property
    def higher_is_better(self) -> bool:
        """False for errors and losses."""
        return best_mode(self.name) != "min"

    def is_in(self, columns: Columns) -> bool:
        """Return whether there are all columns, and a row that counts."""
        return columns.keys() >= {*self.columns, self.counted} and bool((columns[self.counted] > 0).any())

    def of(self, columns: Columns) -> Floats:
        """Return the statistics of the rows that count, (N, K)."""
        is_counted = columns[self.counted] > 0
        return self.statistics({name: columns[name][is_counted] for name in self.columns}, self.columns)


class RowStatistics:
    """Statistics of the tested rows.

    Args:
        scores: the scores that they give; the first one that has a baseline is the headline of a verdict.
    """

    def __init__(self, scores: Sequence[RowScore]) -> None:
        self.scores = tuple(scores)
        self.ids: list[str] = []
        self.num_left_out = 0
        self._parts: list[tuple[int, dict[str, Floats]]] = []

    def add(self, ids: Sequence[str], columns: Mapping[str, Tensor | Floats | Sequence[float]]) -> None:
        """Add the rows of a batch.

        Args:
            ids: ids of the rows. Values after the last id are those of padding, and are left out.
            columns: values of each statistic; a statistic that only other batches have is 0.
        """
        kept = min(len(ids), MAX_ROWS - len(self.ids))
        self.num_left_out += len(ids) - kept
        self.ids.extend(ids[:kept])
        self._parts.append((kept, {name: _array(values)[:kept] for name, values in columns.items()}))

    def columns(self) -> dict[str, Floats]:
        """Return each statistic of all rows, (N,)."""
        names = dict.fromkeys(name for _, part in self._parts for name in part)
        return {
            name: np.concatenate([part[name] if name in part else np.zeros(size) for size, part in self._parts])
            for name in names
        }

    def reset(self) -> None:
        """Remove all rows."""
        self.ids, self._parts, self.num_left_out = [], [], 0

    def extend(self, others: Sequence["RowStatistics"]) -> None:
        """Add the rows of other ranks."""
        for other in others:
            self.add(other.ids, other.columns())
            self.num_left_out += other.num_left_out


def _array(values: Any) -> Floats:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
