"""Images of confusion matrices."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_lightning.training.confusion import DARK, MAX_LABELS, PAPER, draw, most_confused, title


def names(count: int) -> list[str]:
    return [f"label {number}" for number in range(count)]


def diagonal(count: int) -> Tensor:
    return torch.eye(count, dtype=torch.int64)


def pixels(picture: NDArray[np.uint8], color: tuple[int, int, int]) -> NDArray[np.int64]:
    """(N, 2) rows and columns of a color."""
    return np.argwhere((picture == np.array(color)).all(-1))


@pytest.mark.parametrize("count", [1, 2, 12, 30, 31, 151, 1601])
def test_shape_and_size(count: int) -> None:
    picture = draw(diagonal(count), names(count))
    height, width, channels = picture.shape
    assert picture.dtype == np.uint8
    assert channels == 3
    assert 48 <= height < 1100
    assert 48 <= width < 1100
    assert len(pixels(picture, DARK)) > 0, "the diagonal"


def test_rows_are_true_labels_and_columns_predicted_ones() -> None:
    """Every row of label 0 was classified as label 19: only the upper right cell is dark."""
    matrix = torch.zeros(20, 20, dtype=torch.int64)
    matrix[0, 19] = 5
    dark = pixels(draw(matrix, names(20)), DARK)
    assert len(pixels(draw(torch.ones(20, 20, dtype=torch.int64), names(20)), DARK)) == 0, "a twentieth of each row"
    everything = pixels(draw(diagonal(20) * 5, names(20)), DARK)
    assert len(dark) * 20 == len(everything)
    assert dark[:, 0].min() == everything[:, 0].min()
    assert dark[:, 1].max() == everything[:, 1].max()
    assert dark[:, 0].max() < everything[:, 0].max()


def test_counts_are_in_the_cells_at_any_number_of_labels() -> None:
    for count in (12, MAX_LABELS, MAX_LABELS + 1, 500):
        one, seven = draw(diagonal(count), names(count)), draw(diagonal(count) * 7, names(count))
        below = min(pixels(one, DARK)[:, 0])
        assert not np.array_equal(one[below:], seven[below:]), "below the title"


def test_names_are_next_to_the_cells_at_any_number_of_labels() -> None:
    for count in (12, MAX_LABELS, MAX_LABELS + 1, 500):
        others = [name.replace("l", "L") for name in names(count)]
        one, other = draw(diagonal(count), names(count)), draw(diagonal(count), others)
        assert one.shape != other.shape or not np.array_equal(one, other)


def test_labels_with_the_most_errors_are_shown() -> None:
    matrix = diagonal(500) * 1000
    confused = [3, 77, 400, *range(450, 450 + MAX_LABELS - 3)]
    for place, label in enumerate(confused):
        matrix[label, confused[place - 1]] = 100 + place
    assert most_confused(matrix).tolist() == confused
    assert most_confused(diagonal(5)).tolist() == [0, 1, 2, 3, 4]


def test_the_title_counts_all_labels() -> None:
    matrix = diagonal(500) * 10
    matrix[0, 1], matrix[499, 7] = 3, 4
    assert title(matrix, 30) == ["7 of 5,007 rows misclassified", "the 30 of 500 labels with the most errors"]
    assert title(matrix[:2, :2], 2) == ["3 of 23 rows misclassified"]


def test_shades_are_shares_of_complete_rows() -> None:
    """Half of a row lies outside of the image, so no cell of the row is dark."""
    matrix = torch.zeros(MAX_LABELS + 1, MAX_LABELS + 1, dtype=torch.int64)
    matrix[0, :] = 1
    matrix[0, MAX_LABELS] = 0
    matrix[0, 0] = MAX_LABELS * 100
    whole = draw(matrix, names(MAX_LABELS + 1))
    assert len(pixels(whole, DARK)) == 0
    matrix[0, 1:] = 0
    assert len(pixels(draw(matrix, names(MAX_LABELS + 1)), DARK)) > 0


def test_labels_without_rows_stay_white() -> None:
    picture = draw(torch.zeros(2, 2, dtype=torch.int64), ["a", "b"])
    assert len(pixels(picture, PAPER)) > picture.shape[0] * picture.shape[1] * 0.8


def test_large_counts_fit_their_cells() -> None:
    large, small = (draw(diagonal(2) * count, ["a", "b"]) for count in (123_456_789_012, 1))
    dark = pixels(small, DARK)
    below = dark[:, 0].min()  # the title differs too
    changed = np.argwhere((large[:, : small.shape[1]] != small)[below:].any(-1)) + np.array([below, 0])
    assert (changed.min(0) > dark.min(0)).all()
    assert (changed.max(0) < dark.max(0)).all()


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 10_000, "\ud800", "\x1b[31mred", "日本語", "a\tb\x00"])
def test_hostile_names(name: str) -> None:
    picture = draw(diagonal(2), [name, "b"])
    assert max(picture.shape) < 800


def test_another_number_of_names() -> None:
    with pytest.raises(ValueError, match=r"the matrix has shape \(2, 2\), but there are 3 names"):
        draw(torch.eye(2), names(3))
