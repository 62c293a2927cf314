"""Charts as inline SVG: lines, bars, histograms, heat maps, and reliability diagrams."""

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from gpt_lightning.pages.blocks import figure, fold
from gpt_lightning.pages.scale import Scale, is_drawable
from gpt_lightning.pages.svg import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Frame, drawing, element, x_axis_label, x_tick
from gpt_lightning.pages.tables import table
from gpt_lightning.pages.text import format_number, shorten
from gpt_lightning.pages.thinning import Point, drawable_runs, mean_blocks, thin_runs

MAX_POINTS: Final = 600
"""Points of a line."""
MAX_SERIES: Final = 24
"""Lines of a chart that differ in color or dashes."""
MAX_BARS: Final = 60
MAX_CELLS: Final = 40
"""Cells along a side of a heat map."""
MAX_CELL_TEXTS: Final = 12
"""Columns of a heat map whose cells have room for their value."""
MAX_TITLED_CELLS: Final = 900
"""Cells of a heat map that show their value under the pointer; in larger grids, these texts are most of the page."""
DASHES: Final = ("none", "7 3", "2 3", "9 3 2 3", "14 4", "5 2 2 2 2 2")


def line_chart(series: Mapping[str, Sequence[Point]], *, title: str, x_label: str, y_label: str) -> Markup:
    """Return a chart with one line for each series, and a table of its ends and extremes.

    Args:
        series: name -> points (x, y) in order. NaN and infinite values interrupt the line.
        title: caption of the chart.
        x_label: label of the x-axis.
        y_label: label of the y-axis.
    """
    shown = dict(list(series.items())[:MAX_SERIES])
    runs = {name: drawable_runs(points) for name, points in shown.items()}
    points = [point for each in runs.values() for run in each for point in run]
    frame = Frame(
        Scale.over((x for x, _ in points), LEFT, RIGHT),
        Scale.over((y for _, y in points), BOTTOM, TOP),
        x_label,
        y_label,
    )
    lines = [_line(name, each, number, frame) for number, (name, each) in enumerate(runs.items())]
    notes = _note_left_out(sum(map(len, shown.values())) - len(points))
    if not points:
        notes.append("There are no values to draw.")
    if len(series) > MAX_SERIES:
        notes.append(f"The first {MAX_SERIES} of {len(series):,} lines are shown.")
    if longest := max((len(each) for each in shown.values() if len(each) > MAX_POINTS), default=0):
        notes.append(f"Lines are thinned from up to {longest:,} points to about {MAX_POINTS}; extremes are kept.")
    rows = [_extremes(name, [point for run in each for point in run]) for name, each in runs.items()]
    described = [f"{row[0]}: {format_number(row[3])} to {format_number(row[4])}" for row in rows[:8] if row[1]]
    description = f"{title}. Line chart of {y_label} by {x_label}. {'; '.join(described) or 'No values'}."
    legend = _legend(list(shown)) if len(shown) > 1 else Markup("")
    columns = ["Line", "Points", f"First {x_label}", "First value", "Last value", "Lowest", "Highest"]
    values = fold("Values", table(columns, rows))
    return figure(title, frame.draw(*lines, description=description) + legend + values, notes)


def _line(name: str, runs: Sequence[Sequence[Point]], number: int, frame: Frame) -> Markup:
    """Return the line of a series; a single point is a dot."""
    parts = []
    for run in thin_runs(runs, MAX_POINTS):
        if len(run) == 1:
            ((x, y),) = run
            parts.append(element("circle", class_=f"f{number % 8}", cx=frame.x(x), cy=frame.y(y), r=3))
            continue
        path = " ".join(f"{frame.x(x):.2f},{frame.y(y):.2f}" for x, y in run)
        dashes = DASHES[number % len(DASHES)]
        parts.append(element("polyline", class_=f"s{number % 8}", stroke_dasharray=dashes, points=path))
    return element("g", element("title", name), *parts)


def _extremes(name: str, points: Sequence[Point]) -> tuple[str, int, float, float, float, float, float]:
    """Return name, number of points, first x, first y, last y, lowest y and highest y of a series."""
    if not points:
        nan = float("nan")
        return name, 0, nan, nan, nan, nan, nan
    values = [y for _, y in points]
    return name, len(points), points[0][0], values[0], values[-1], min(values), max(values)


def _legend(names: Sequence[str]) -> Markup:
    items = []
    for number, name in enumerate(names):
        line = element(
            "line",
            class_=f"s{number % 8}",
            x1=0,
            x2=28,
            y1=5,
            y2=5,
            stroke_width=2,
            stroke_dasharray=DASHES[number % len(DASHES)],
        )
        items.append(
            Markup("<li>{}{}</li>").format(
                element("svg", line, viewBox="0 0 28 10", aria_hidden="true"), element("span", shorten(name, 120))
            )
        )
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def bar_chart(
    values: Mapping[str, float],
    *,
    title: str,
    x_label: str,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Markup:
    """Return horizontal bars with their values.

    Args:
        values: label -> length of the bar.
        title: caption of the chart.
        x_label: label of the x-axis.
        intervals: label -> ends of an interval, drawn as a whisker over the bar.
    """
    shown = {name: value for name, value in values.items() if is_drawable(value)}
    notes = _note_left_out(len(values) - len(shown))
    if len(shown) > MAX_BARS:
        notes.append(f"The first {MAX_BARS} of {len(shown):,} bars are shown.")
        shown = dict(list(shown.items())[:MAX_BARS])
    ends = {name: (intervals or {}).get(name) for name in shown}
    drawn = [end for pair in ends.values() if pair for end in pair]
    left, height = 200, 24
    scale = Scale.over([*shown.values(), *drawn], left, WIDTH - (190 if intervals else 90), includes_zero=True)
    bottom = 8 + height * len(shown)
    bars = [
        _bar(name, value, ends[name], scale, 8 + height * number) for number, (name, value) in enumerate(shown.items())
    ]
    description = f"{title}. Bar chart of {x_label}. " + "; ".join(
        f"{name}: {format_number(value)}" for name, value in list(shown.items())[:20]
    )
    svg = drawing(
        *(
            element("line", class_="grid", x1=scale(value), x2=scale(value), y1=4, y2=bottom)
            for value, _ in scale.ticks()
        ),
        *bars,
        element("line", class_="axis", x1=scale(0), x2=scale(0), y1=4, y2=bottom),
        *(x_tick(scale(value), label, bottom) for value, label in scale.ticks()),
        x_axis_label(x_label, bottom),
        description=description,
        height=bottom + 46,
    )
    return figure(title, svg, notes)


def _bar(name: str, value: float, interval: tuple[float, float] | None, scale: Scale, top: float) -> Markup:
    text, middle = format_number(value), top + 10
    parts = [
        element("title", f"{name}: {text}"),
        element("text", shorten(name, 30), class_="name", x=190, y=middle + 4, text_anchor="end"),
        element(
            "rect", class_="f0", x=min(scale(0), scale(value)), y=top + 2, width=abs(scale(value) - scale(0)), height=16
        ),
    ]
    if interval is not None and all(map(is_drawable, interval)):
        low, high = map(scale, interval)
        path = f"M{low:.2f} {middle - 5}v10M{low:.2f} {middle}H{high:.2f}M{high:.2f} {middle - 5}v10"
        parts.append(element("path", class_="whisker", d=path))
        text += f" [{format_number(interval[0])}, {format_number(interval[1])}]"
    parts.append(element("text", text, class_="value", x=WIDTH - 4, y=middle + 4, text_anchor="end"))
    return element("g", *parts)


def histogram(values: Sequence[float], *, title: str, x_label: str, bins: int = 20) -> Markup:
    """Return a histogram with ``bins`` bins of equal width.

    Args:
        values: numbers to count.
        title: caption of the chart.
        x_label: label of the x-axis.
        bins: number of bins.
    """
    drawable = [float(value) for value in values if is_drawable(value)]
    scale = Scale.over(drawable, LEFT, RIGHT)
    width = (scale.high - scale.low) / bins
    counts = [0] * bins
    for value in drawable:
        counts[min(max(int((value - scale.low) / width), 0), bins - 1)] += 1
    frame = Frame(scale, Scale.over(counts, BOTTOM, TOP, includes_zero=True), x_label, "count")
    edges = [scale.low + width * number for number in range(bins + 1)]
    rows = [(format_number(edges[n]), format_number(edges[n + 1]), count) for n, count in enumerate(counts) if count]
    bars = [
        element(
            "rect",
            element("title", f"{format_number(edges[n])} to {format_number(edges[n + 1])}: {count:,}"),
            class_="f0",
            x=frame.x(edges[n]) + 0.5,
            y=frame.y(count),
            width=frame.x(edges[n + 1]) - frame.x(edges[n]) - 1,
            height=frame.y(0) - frame.y(count),
        )
        for n, count in enumerate(counts)
        if count
    ]
    described = f"from {format_number(min(drawable))} to {format_number(max(drawable))}" if drawable else "none"
    description = f"{title}. Histogram of {x_label}: {len(drawable):,} values, {described}."
    content = frame.draw(*bars, description=description) + fold("Values", table(["From", "To", "Count"], rows))
    return figure(title, content, _note_left_out(len(values) - len(drawable)))


def heat_map(
    rows: Sequence[Sequence[float]], *, title: str, row_labels: Sequence[str], column_labels: Sequence[str]
) -> Markup:
    """Return a grid of cells whose color is stronger the larger the absolute value is.

    Positive and negative values differ in color, and small grids show the values. Large grids are averaged.

    Args:
        rows: values, shape (rows, columns).
        title: caption of the chart.
        row_labels: a label for each row.
        column_labels: a label for each column.
    """
    notes = _note_left_out(sum(not is_drawable(value) for row in rows for value in row))
    row_block, column_block = (max(-(-len(labels) // MAX_CELLS), 1) for labels in (row_labels, column_labels))
    if row_block > 1 or column_block > 1:
        rows = mean_blocks(rows, row_block, column_block)
        row_labels, column_labels = row_labels[::row_block], column_labels[::column_block]
        notes.append(f"Each cell is the mean of {row_block} × {column_block} values, and has the label of the first.")
    largest = max((abs(value) for row in rows for value in row if is_drawable(value)), default=0.0)
    left, top, right = 150, 90, WIDTH - 8
    is_titled = len(row_labels) * len(column_labels) <= MAX_TITLED_CELLS
    size = min((right - left) / max(len(column_labels), 1), 60)
    height = min(size, 32)
    has_text = 0 < len(column_labels) <= MAX_CELL_TEXTS
    cells = [
        _cell(
            value,
            f"{row_labels[r]}, {column_labels[c]}" if is_titled else "",
            largest,
            (left + c * size, top + r * height, size, height),
            has_text,
        )
        for r, row in enumerate(rows)
        for c, value in enumerate(row)
        if is_titled or value != 0
    ]
    labels = [
        element(
            "text", shorten(label, 22), class_="name", x=left - 6, y=top + (r + 0.5) * height + 4, text_anchor="end"
        )
        for r, label in enumerate(row_labels)
    ]
    for c, label in enumerate(column_labels):
        at = f"translate({left + (c + 0.5) * size + 4:.2f} {top - 6}) rotate(-45)"
        labels.append(element("text", shorten(label, 16), class_="name column", transform=at))
    size_text = f"{len(row_labels)} rows and {len(column_labels)} columns"
    description = f"{title}. Heat map with {size_text}, largest absolute value {format_number(largest)}."
    svg = drawing(*cells, *labels, description=description, height=top + len(row_labels) * height + 8)
    notes.append(f"The strongest color is the absolute value {format_number(largest)}.")
    return figure(title, svg, notes)


def _cell(value: float, name: str, largest: float, box: tuple[float, float, float, float], has_text: bool) -> Markup:
    """Return a cell; one with a name shows it and the value under the pointer."""
    x, y, width, height = box
    title = element("title", f"{name}: {format_number(value)}") if name else Markup("")
    if not is_drawable(value):
        return element("rect", title, class_="gap", x=x, y=y, width=width, height=height)
    strength = abs(value) / largest if largest else 0.0
    sign = "negative" if value < 0 else "positive"
    opacity = 0.7 * strength
    rect = element("rect", title, class_=f"cell {sign}", x=x, y=y, width=width, height=height, fill_opacity=opacity)
    if not has_text:
        return rect
    return rect + element(
        "text", format_number(value), class_="value", x=x + width / 2, y=y + height / 2 + 4, text_anchor="middle"
    )


def reliability_diagram(
    confidences: Sequence[float], accuracies: Sequence[float], counts: Sequence[int], *, title: str
) -> Markup:
    """Return accuracy by confidence; a calibrated model lies on the diagonal.

    Args:
        confidences: mean confidence of each bin, from 0 to 1.
        accuracies: share of correct predictions of each bin.
        counts: predictions of each bin; empty bins are left out.
        title: caption of the chart.
    """
    frame = Frame(Scale(0, 1, LEFT, RIGHT), Scale(0, 1, BOTTOM, TOP), "confidence", "accuracy")
    every = zip(confidences, accuracies, counts, strict=True)
    bins = [each for each in every if each[2] and is_drawable(each[0]) and is_drawable(each[1])]
    most = max((count for *_, count in bins), default=1)
    marks = [element("line", class_="ideal", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=TOP)]
    for confidence, accuracy, count in bins:
        x, y = frame.x(confidence), frame.y(accuracy)
        marks.append(element("line", class_="s0", x1=x, x2=x, y1=frame.y(confidence), y2=y))
        name = f"confidence {format_number(confidence)}, accuracy {format_number(accuracy)}: {count:,}"
        marks.append(
            element("circle", element("title", name), class_="f0", cx=x, cy=y, r=3 + 7 * (count / most) ** 0.5)
        )
    description = f"{title}. Accuracy by confidence in {len(bins)} bins; the diagonal is a calibrated model."
    values = fold("Values", table(["Confidence", "Accuracy", "Count"], bins))
    note = "Larger dots have more predictions. Dots below the diagonal are overconfident."
    return figure(title, frame.draw(*marks, description=description) + values, [note])


def _note_left_out(count: int) -> list[str]:
    """Return a note about values that are not drawn."""
    return [f"{count:,} values are left out, because they are not finite numbers."] if count else []
