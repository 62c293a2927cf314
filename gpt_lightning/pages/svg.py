"""SVG elements and the frame of a chart: axes, ticks, and labels."""

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from gpt_lightning.pages.scale import Scale
from gpt_lightning.pages.text import escape_forbidden

WIDTH: Final = 640
LEFT, RIGHT, TOP, BOTTOM = 84, 624, 12, 236
"""Pixels of the plot area."""
HEIGHT: Final = 282


def element(name: str, *content: Markup | str, **attributes: str | float) -> Markup:
    """Return an element with escaped content and attributes.

    Underscores in the names of attributes are hyphens, and one at the end is dropped, as in ``class_``.
    """
    text = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), escape_forbidden(value) if isinstance(value, str) else f"{value:.2f}"
        )
        for key, value in attributes.items()
    )
    inner = Markup("").join(
        part if isinstance(part, Markup) else Markup.escape(escape_forbidden(part)) for part in content
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), text, inner)


def drawing(*content: Markup, description: str, height: float = HEIGHT) -> Markup:
    """Return an SVG image with a description for readers who do not see it."""
    box = f"0 0 {WIDTH} {height:g}"
    return element("svg", *content, viewBox=box, role="img", aria_label=description)


@dataclass(frozen=True)
class Frame:
    """Axes of a chart with their ticks and labels."""

    x: Scale
    y: Scale
    x_label: str
    y_label: str

    def draw(self, *marks: Markup, description: str) -> Markup:
        """Return the chart with ``marks`` over the grid."""
        middle = (TOP + BOTTOM) / 2
        return drawing(
            *(self._y_tick(value, label) for value, label in self.y.ticks()),
            *(x_tick(self.x(value), label, BOTTOM) for value, label in self.x.ticks()),
            element("line", class_="axis", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM),
            *marks,
            x_axis_label(self.x_label, BOTTOM),
            element(
                "text",
                self.y_label,
                class_="label",
                text_anchor="middle",
                transform=f"translate(12 {middle}) rotate(-90)",
            ),
            description=description,
        )

    def _y_tick(self, value: float, label: str) -> Markup:
        y = self.y(value)
        return element("line", class_="grid", x1=LEFT, x2=RIGHT, y1=y, y2=y) + element(
            "text", label, class_="tick y", x=LEFT - 8, y=y + 4, text_anchor="end"
        )


def x_tick(x: float, label: str, bottom: float) -> Markup:
    """Return a tick below the x-axis with its label."""
    return element("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4) + element(
        "text", label, class_="tick x", x=x, y=bottom + 18, text_anchor="middle"
    )


def x_axis_label(label: str, bottom: float) -> Markup:
    """Return the label below the x-axis."""
    return element("text", label, class_="label", x=(LEFT + RIGHT) / 2, y=bottom + 38, text_anchor="middle")
