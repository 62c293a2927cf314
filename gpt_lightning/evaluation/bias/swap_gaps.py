"""Gaps between the predictions for rows about two groups, from rows and their twins with swapped words.

The mean change is the counterfactual token fairness gap of Garg et al. (2019, arXiv:1809.10610).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from gpt_lightning.data.labeled import Example, Labeled
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.word_swaps.swaps import Swaps
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.bias.estimate import Estimate, mean_of
from gpt_lightning.evaluation.bias.row_comparison import RowComparison, compare
from gpt_lightning.tasks import Task

NUM_ROWS_SHOWN: Final = 50
"""Rows in a report, those whose predictions change most."""


@dataclass(frozen=True)
class SwappableRows:
    """Examples of a file, and those that have a word to swap.

    Attributes:
        num_rows: number of rows of the file.
        examples: examples with a word to swap.
        unlabeled: reason why the rows have no labels; None if they have labels.
    """

    num_rows: int
    examples: list[Example]
    unlabeled: str | None


@dataclass(frozen=True)
class GapReport:
    """Gaps between two groups.

    Rows whose swapped words are of both groups count in ``change`` and ``changed`` only.

    Attributes:
        groups: names of the groups.
        num_rows: number of rows of the file.
        num_swapped: rows with a word to swap.
        num_of_group: rows with words of one group only, by group.
        change: mean distance between the predictions for a row and for its twin.
        changed: share of rows whose prediction differs from that for the twin; None for numbers.
        scores: mean score of the version about each group, by name of the score and by group.
        score_gaps: score of the version about the first group minus that of the version about the second, by name.
        errors: mean error of the version about each group; empty without labels.
        error_gap: error of the version about the first group minus that about the second; None without labels.
        unlabeled: reason why there are no errors; None if the rows have labels.
        rows: rows that change most.
    """

    groups: tuple[str, str]
    num_rows: int
    num_swapped: int
    num_of_group: dict[str, int]
    change: Estimate
    changed: Estimate | None
    scores: dict[str, dict[str, float]]
    score_gaps: dict[str, Estimate]
    errors: dict[str, Estimate]
    error_gap: Estimate | None
    unlabeled: str | None
    rows: list[RowComparison]


def swappable_rows(module: Labeled[Any], rows: Iterable[Row], swaps: Swaps, source: str) -> SwappableRows:
    """Return the examples of rows that have a word to swap.

    If no row has a valid label, the rows are read without labels.

    Args:
        module: data module of the model.
        rows: rows of a file.
        swaps: words to swap.
        source: name of the file, for messages.

    Raises:
        InputError: a row is invalid, or none has a word to swap.
    """
    rows = list(rows)
    parsed = list(module.parse_rows(iter(rows), "test", True))
    errors = [each for each in parsed if isinstance(each, InputError)]
    unlabeled = None
    if errors and len(errors) == len(parsed):
        unlabeled = str(errors[0])
        parsed = list(module.parse_rows(iter(rows), "test", False))
        errors = [each for each in parsed if isinstance(each, InputError)]
    if errors:
        raise errors[0]
    examples = [
        each
        for each in parsed
        if not isinstance(each, InputError) and any(text.replacements for text in module.twin(each, swaps)[1])
    ]
    if not examples:
        raise InputError(
            f"{source}: none of the {len(parsed):,} rows has a word of the list. Give other words with --swaps FILE"
        )
    return SwappableRows(len(parsed), examples, unlabeled)


def compare_rows(
    task: Task,
    module: Labeled[Any],
    rows: SwappableRows,
    swaps: Swaps,
    advance: Callable[[int], object] = lambda _: None,
) -> list[RowComparison]:
    """Predict each row and its twin, and compare the predictions.

    Args:
        task: task with a head, in ``eval`` mode.
        module: data module of the task.
        rows: rows with a word to swap.
        swaps: words to swap.
        advance: function that is called with the number of predictions since its last call, two for each row.
    """
    twins = [module.twin(example, swaps) for example in rows.examples]
    first = _predictions(task, module, rows.examples, advance)
    second = _predictions(task, module, [twin for twin, _ in twins], advance)
    return [
        compare(example, twin, texts, records, has_labels=rows.unlabeled is None)
        for example, (twin, texts), records in zip(rows.examples, twins, zip(first, second, strict=True), strict=True)
    ]


@torch.inference_mode()
def _predictions(
    task: Task, module: Labeled[Any], examples: list[Example], advance: Callable[[int], object]
) -> list[dict[str, Any]]:
    """Return the record of each example."""
    module.use_examples(examples)
    module.setup("predict")
    records: list[dict[str, Any]] = []
    for number, batch in enumerate(module.predict_dataloader()):
        records += task.predict_step(module.transfer_batch_to_device(batch, task.device, 0), number)
        advance(len(batch["ids"]))
    return records


def gap_report(compared: Sequence[RowComparison], rows: SwappableRows, groups: tuple[str, str]) -> GapReport:
    """Return the gaps between the groups.

    Args:
        compared: comparisons of all rows with a word to swap.
        rows: these rows.
        groups: names of the groups.
    """
    of_one = [each for each in compared if each.group is not None]
    with_errors = [pair for each in of_one if (pair := _by_group(each.errors, each.group)) is not None]
    changed = [float(each.is_changed) for each in compared if each.is_changed is not None]
    scores = [pair for each in of_one if (pair := _by_group(each.scores, each.group)) is not None]
    names = compared[0].scores[0]
    pairs = {name: [(first[name], second[name]) for first, second in scores] for name in names}
    return GapReport(
        groups=groups,
        num_rows=rows.num_rows,
        num_swapped=len(compared),
        num_of_group={name: sum(each.group == number for each in compared) for number, name in enumerate(groups)},
        change=mean_of([each.change for each in compared]),
        changed=mean_of(changed) if changed else None,
        scores={
            name: {group: _mean([pair[number] for pair in found]) for number, group in enumerate(groups)}
            for name, found in pairs.items()
        },
        score_gaps={name: mean_of([first - second for first, second in found]) for name, found in pairs.items()},
        errors={group: mean_of([pair[number] for pair in with_errors]) for number, group in enumerate(groups)}
        if with_errors
        else {},
        error_gap=mean_of([first - second for first, second in with_errors]) if with_errors else None,
        unlabeled=rows.unlabeled,
        rows=sorted(compared, key=lambda each: -each.change)[:NUM_ROWS_SHOWN],
    )


def _mean(values: Sequence[float]) -> float:
    """Return the mean of values; NaN without any."""
    return float(np.mean(values)) if values else math.nan


def _by_group(pair: tuple[Any, Any] | None, group: int | None) -> tuple[Any, Any] | None:
    """Return values of a row and of its twin in the order of the groups that the two texts are about."""
    return pair[::-1] if pair is not None and group == 1 else pair
