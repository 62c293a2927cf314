"""The picture of a confusion matrix."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpt_lightning.training.confusion import DARK, PAPER, draw


def names(count: int) -> list[str]:
    return [f"label {number}" for number in range(count)]


def pixels(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.int64]:
    """(N, 2) rows and columns of a colour."""
    return np.argwhere((picture == np.array(colour)).all(-1))


@pytest.mark.parametrize("count", [1, 2, 12, 13, 40, 41, 151, 801, 1601])
def test_shape_and_size(count: int) -> None:
    picture = draw(torch.eye(count, dtype=torch.int64), names(count))
    height, width, channels = picture.shape
    assert picture.dtype == np.uint8
    assert channels == 3
    assert 48 <= height < 1100
    assert 48 <= width < 1100
    assert len(pixels(picture, DARK)) > 0, "the diagonal"


def test_rows_are_gold_and_columns_predicted() -> None:
    """All of label 0 was taken for label 19: dark in the upper right, and nowhere else."""
    matrix = torch.zeros(20, 20, dtype=torch.int64)
    matrix[0, 19] = 5
    dark = pixels(draw(matrix, names(20)), DARK)
    grid = pixels(draw(torch.ones(20, 20, dtype=torch.int64), names(20)), DARK)
    assert len(grid) == 0, "a twentieth of a row each"
    everything = pixels(draw(torch.eye(20, dtype=torch.int64), names(20)), DARK)
    assert len(dark) * 20 == len(everything)
    assert dark[:, 0].min() == everything[:, 0].min()
    assert dark[:, 1].max() == everything[:, 1].max()
    assert dark[:, 0].max() < everything[:, 0].max()


def test_rows_are_normalised() -> None:
    matrix = torch.eye(20, dtype=torch.int64) * 3 + 1
    scaled = matrix * torch.arange(1, 21).unsqueeze(1)
    assert np.array_equal(draw(matrix, names(20)), draw(scaled, names(20)))
    assert not np.array_equal(draw(matrix, names(20)), draw(matrix.fliplr(), names(20)))


def test_counts_and_names_where_there_is_room() -> None:
    for count, has_counts, has_names in ((12, True, True), (13, False, True), (40, False, True), (41, False, False)):
        matrix = torch.eye(count, dtype=torch.int64)
        picture = draw(matrix, names(count))
        assert np.array_equal(picture, draw(matrix * 7, names(count))) != has_counts
        other = draw(matrix, [name.replace("l", "L") for name in names(count)])
        assert (picture.shape == other.shape and np.array_equal(picture, other)) != has_names


def test_labels_without_a_row_stay_white() -> None:
    picture = draw(torch.zeros(2, 2, dtype=torch.int64), ["a", "b"])
    assert len(pixels(picture, PAPER)) > picture.shape[0] * picture.shape[1] * 0.8


def test_large_counts_fit_their_cells() -> None:
    picture = draw(torch.eye(2, dtype=torch.int64) * 123_456_789_012, ["a", "b"])
    small = draw(torch.eye(2, dtype=torch.int64), ["a", "b"])
    # Paper outside the cells stays as it was: only what is written inside differs.
    changed = np.argwhere((picture != small).any(-1))
    dark = pixels(small, DARK)
    assert (changed.min(0) > dark.min(0)).all()
    assert (changed.max(0) < dark.max(0)).all()


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 10_000, "\ud800", "\x1b[31mred", "日本語", "a\tb\x00"])
def test_hostile_names(name: str) -> None:
    picture = draw(torch.eye(2, dtype=torch.int64), [name, "b"])
    assert max(picture.shape) < 800


def test_another_number_of_names() -> None:
    with pytest.raises(ValueError, match=r"a matrix of \(2, 2\) for 3 names"):
        draw(torch.eye(2), names(3))
