import math
import random
from xml.etree import ElementTree

import numpy as np
import pytest

from gpt_lightning.pages.charts import bar_chart, heat_map, histogram, line_chart, reliability_diagram
from gpt_lightning.pages.scale import Scale
from gpt_lightning.pages.thinning import mean_blocks, thin_runs
from tests.pages.markup import HOSTILE, axis, svg_of, texts


def lines(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """Return the points of each polyline in values, by the ticks of the axes."""
    (x_slope, x_offset), (y_slope, y_offset) = axis(svg, "x"), axis(svg, "y")
    pairs = [[point.split(",") for point in each.get("points", "").split()] for each in svg.iter("polyline")]
    return [[(float(x) * x_slope + x_offset, float(y) * y_slope + y_offset) for x, y in line] for line in pairs]


def test_a_line_has_the_values() -> None:
    points = [(0.0, 4.0), (10.0, 2.5), (25.0, -1.25), (40.0, 0.5)]
    svg = svg_of(line_chart({"loss": points}, title="Loss", x_label="step", y_label="loss"))
    (line,) = lines(svg)
    np.testing.assert_allclose(line, points, atol=0.03)
    assert "loss: 4 to 0.5" in svg.get("aria-label", "")
    assert texts(svg, "label") == ["step", "loss"]


def test_values_that_are_not_finite_interrupt_a_line() -> None:
    values = [1.0, 2.0, math.nan, 3.0, 4.0, math.inf, 5.0, -math.inf, 1e308]
    chart = line_chart({"a": list(enumerate(values))}, title="t", x_label="x", y_label="y")
    svg = svg_of(chart)
    assert [[round(y, 1) for _, y in line] for line in lines(svg)] == [[1.0, 2.0], [3.0, 4.0]]
    assert len(list(svg.iter("circle"))) == 1
    assert "4 values are left out" in chart
    assert not any(word in each.get("points", "") for each in svg.iter("polyline") for word in ("nan", "inf"))


@pytest.mark.parametrize(
    "values", [[], [0.0], [5.0, 5.0], [1e99, -1e99], [5e-324, 0.0], [1e-9, 3e-9], [1e12, 1e12 + 1]]
)
def test_any_range_has_axes(values: list[float]) -> None:
    svg = svg_of(line_chart({"a": list(enumerate(values))}, title="t", x_label="x", y_label="y"))
    labels = texts(svg, "y")
    assert 2 <= len(labels) <= 12
    assert len(labels) == len(set(labels))
    assert len(lines(svg)) == (len(values) > 1)


def test_ticks_are_round_and_inside() -> None:
    generator = random.Random(0)
    for _ in range(300):
        low = generator.uniform(-1, 1) * 10 ** generator.randint(-6, 6)
        scale = Scale.over([low, low + generator.random() * 10 ** generator.randint(-6, 6)], 0, 1)
        ticks = scale.ticks()
        assert 2 <= len(ticks) <= 12
        for value, label in ticks:
            assert -1e-6 <= scale(value) <= 1 + 1e-6
            shown = float(label.replace("−", "-").replace(",", ""))
            assert abs(shown - value) <= 1e-6 * (scale.high - scale.low)


def test_thinning_keeps_ends_and_extremes() -> None:
    generator = random.Random(0)
    points = [(float(x), generator.random()) for x in range(100_000)]
    points[54_321] = (54_321.0, 9.0)
    points[77_777] = (77_777.0, -9.0)
    (thinned,) = thin_runs([points], 600)
    assert len(thinned) <= 600
    assert {points[0], points[-1], points[54_321], points[77_777]} <= set(thinned)
    assert thinned == sorted(thinned)
    chart = line_chart({"a": points}, title="t", x_label="x", y_label="y")
    assert "thinned from up to 100,000 points" in chart
    assert len(chart) < 30_000


def test_bars_have_the_values_and_intervals() -> None:
    values = {"ours": 0.8, "baseline": 0.5, "worse": -0.25}
    svg = svg_of(bar_chart(values, title="t", x_label="accuracy", intervals={"ours": (0.7, 0.95)}))
    slope, _ = axis(svg, "x")
    assert [float(each.get("width", "")) * slope for each in svg.iter("rect")] == pytest.approx(
        [0.8, 0.5, 0.25], abs=0.01
    )
    assert texts(svg, "value") == ["0.8 [0.7, 0.95]", "0.5", "−0.25"]
    assert len(list(svg.iter("path"))) == 1
    assert "1 values are left out" in bar_chart({"a": math.nan, "b": 1}, title="t", x_label="x")


def test_histogram_counts_like_numpy() -> None:
    values = np.random.default_rng(0).normal(size=500).tolist()
    svg = svg_of(histogram(values, title="t", x_label="x", bins=16))
    scale = Scale.over(values, 0, 1)
    counts, _ = np.histogram(values, bins=16, range=(scale.low, scale.high))
    titles = [each.find("title") for each in svg.iter("rect")]
    assert [int((title.text or "").split(": ")[1]) for title in titles if title is not None] == [c for c in counts if c]
    slope, _ = axis(svg, "y")
    heights = [-slope * float(each.get("height", "")) for each in svg.iter("rect")]
    np.testing.assert_allclose(heights, [count for count in counts if count], atol=0.1)


def test_heat_map_shows_the_values() -> None:
    chart = heat_map([[4.0, -2.0], [math.nan, 0.0]], title="t", row_labels=["a", "b"], column_labels=["c", "d"])
    svg = svg_of(chart)
    cells = [each for each in svg.iter("rect") if "cell" in str(each.get("class"))]
    assert [float(each.get("fill-opacity", "")) / 0.7 for each in cells] == pytest.approx([1, 0.5, 0], abs=0.01)
    assert ["negative" in str(each.get("class")) for each in cells] == [False, True, False]
    assert texts(svg, "value") == ["4", "−2", "0"]
    assert "1 values are left out" in chart


def test_integers_that_no_float_holds_are_left_out() -> None:
    chart = heat_map([[10**400, 1]], title="t", row_labels=["a"], column_labels=["b", "c"])
    assert "a, b: 1.000e+400" in chart
    assert "1 values are left out" in chart


def test_large_heat_maps_are_averaged() -> None:
    grid = np.arange(100 * 90, dtype=float).reshape(100, 90)
    chart = heat_map(grid.tolist(), title="t", row_labels=[str(n) for n in range(100)], column_labels=["x"] * 90)
    assert len(list(svg_of(chart).iter("rect"))) == 34 * 30
    assert "mean of 3 × 3 values" in chart
    assert mean_blocks(grid.tolist(), 3, 3)[1][2] == grid[3:6, 6:9].mean()


def test_each_side_of_a_heat_map_is_averaged_on_its_own() -> None:
    grid = np.arange(8 * 200, dtype=float).reshape(8, 200)
    chart = heat_map(grid.tolist(), title="t", row_labels=["x"] * 8, column_labels=["y"] * 200)
    assert len(list(svg_of(chart).iter("rect"))) == 8 * 40
    assert "mean of 1 × 5 values" in chart
    np.testing.assert_allclose(mean_blocks(grid.tolist(), 1, 5), grid.reshape(8, 40, 5).mean(2))


def test_maps_of_long_texts_are_small() -> None:
    grid = np.tril(np.random.default_rng(0).random((40, 40)))
    chart = heat_map(grid.tolist(), title="t", row_labels=["token"] * 40, column_labels=["token"] * 40)
    assert len(chart) < 110_000
    cells = [each for each in svg_of(chart).iter("rect") if "cell" in str(each.get("class"))]
    shown = [float(each.get("fill-opacity", "")) for each in cells]
    np.testing.assert_allclose(shown, 0.7 * grid[grid > 0] / grid.max(), atol=0.01)


def test_lines_with_many_gaps_are_thinned() -> None:
    values = [math.nan if x % 2 else float(x % 100) for x in range(20_000)]
    values[5_000] = 1e6
    chart = line_chart({"a": list(enumerate(values))}, title="t", x_label="x", y_label="y")
    dots = list(svg_of(chart).iter("circle"))
    assert len(dots) <= 600
    assert len(chart) < 60_000
    slope, offset = axis(svg_of(chart), "y")
    assert max(float(dot.get("cy", "")) * slope + offset for dot in dots) == pytest.approx(1e6, rel=0.01)


def test_reliability_diagram_has_the_bins() -> None:
    svg = svg_of(reliability_diagram([0.55, 0.9, math.nan], [0.5, 0.75, math.nan], [10, 40, 0], title="t"))
    (x_slope, x_offset), (y_slope, y_offset) = axis(svg, "x"), axis(svg, "y")
    points = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in svg.iter("circle")]
    values = [(x * x_slope + x_offset, y * y_slope + y_offset) for x, y in points]
    np.testing.assert_allclose(values, [(0.55, 0.5), (0.9, 0.75)], atol=0.01)


def test_names_are_escaped_in_every_chart() -> None:
    charts = [
        line_chart({HOSTILE: [(0, 1), (1, 2)]}, title=HOSTILE, x_label=HOSTILE, y_label=HOSTILE),
        bar_chart({HOSTILE: 1.0}, title=HOSTILE, x_label=HOSTILE),
        histogram([1.0, 2.0], title=HOSTILE, x_label=HOSTILE),
        heat_map([[1.0]], title=HOSTILE, row_labels=[HOSTILE], column_labels=[HOSTILE]),
        reliability_diagram([0.5], [0.5], [1], title=HOSTILE),
    ]
    for chart in charts:
        svg = svg_of(chart)
        assert "<script" not in chart
        assert "<script>alert(1)</script>" in svg.get("aria-label", "")
