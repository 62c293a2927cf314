"""Draw the picture of the README: the results of the quickstart as bars, and its loss curve.

    gpt-lightning quickstart
    python benchmarks/quickstart_picture.py docs/images/quickstart.svg

Run it in the folder of the quickstart; the numbers come from ``metrics.json`` and TensorBoard's files below ``logs/``.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt_lightning.commands.quickstart import TASKS

HEADS: Final = {"classification": "topic", "sentiment": "sentiment", "ner": "entities", "qa": "questions"}
"""Head of the quickstart -> its name in the picture."""
ORIGINS: Final = {"from_scratch": ("from scratch", "#9aa5b1"), "pretrained": ("from the backbone", "#2563eb")}
"""Name of a run -> its name in the picture, and its color."""

WIDTH, HEIGHT = 860, 320
TOP, BOTTOM = 78, 268
"""The largest and the smallest value of both charts, in pixels from the top."""
BARS_LEFT, CURVE_LEFT, CURVE_RIGHT = 30, 530, 830
BAR, GROUP = 44, 116
INK, FAINT = "#1f2933", "#d2d6dc"

Point = tuple[float, float]


def scores(logs: Path) -> dict[tuple[str, str], float]:
    """Return the test metric of each head and origin."""
    return {(head, origin): _score(logs, head, origin) for head in HEADS for origin in ORIGINS}


def _score(logs: Path, head: str, origin: str) -> float:
    record = json.loads((logs / f"toy_world_{head}" / origin / "metrics.json").read_text())
    return float(record["metrics"][TASKS[head]])


def loss_curve(logs: Path) -> list[Point]:
    """Return (number of steps, training loss) of the pretraining run."""
    events = EventAccumulator(str(logs / "pretrain_toy_world" / "pretrain"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("train/loss")]


def picture(measured: dict[tuple[str, str], float], curve: Sequence[Point]) -> str:
    """Return the SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
        *_bars(measured),
        *_curve(curve),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _bars(measured: dict[tuple[str, str], float]) -> Iterator[str]:
    yield _text(BARS_LEFT, 28, "Test score of four heads, 400 labeled rows each", "start", ' font-weight="bold"')
    x = float(BARS_LEFT)
    for name, color in ORIGINS.values():
        yield f'<rect x="{x}" y="42" width="12" height="12" fill="{color}"/>'
        yield _text(x + 18, 53, name, "start")
        x += 118
    for number, (head, name) in enumerate(HEADS.items()):
        left = BARS_LEFT + 8 + number * GROUP
        for place, (origin, (_, color)) in enumerate(ORIGINS.items()):
            value = measured[head, origin]
            height = value * (BOTTOM - TOP)
            bar_left = left + place * (BAR + 4)
            yield (
                f'<rect x="{bar_left}" y="{BOTTOM - height:.1f}" width="{BAR}" height="{height:.1f}" fill="{color}"/>'
            )
            yield _text(bar_left + BAR / 2, BOTTOM - height - 5, f"{value:.2f}")
        yield _text(left + BAR + 2, BOTTOM + 18, name)
        yield _text(
            left + BAR + 2, BOTTOM + 34, TASKS[head].replace("_f1", " F1"), more=' font-size="11" fill="#616e7c"'
        )
    yield f'<line x1="{BARS_LEFT}" y1="{BOTTOM}" x2="{BARS_LEFT + 4 * GROUP}" y2="{BOTTOM}" stroke="{INK}"/>'


def _curve(curve: Sequence[Point]) -> Iterator[str]:
    yield _text(CURVE_LEFT, 28, "Pretraining: training loss, nats per token", "start", ' font-weight="bold"')
    last_step, highest = curve[-1][0], max(loss for _, loss in curve)
    ticks = range(int(highest) + 2)

    def place(step: float, loss: float) -> Point:
        x = CURVE_LEFT + (CURVE_RIGHT - CURVE_LEFT) * step / last_step
        return x, BOTTOM - (BOTTOM - TOP) * loss / ticks[-1]

    for loss in ticks[::2]:
        _, y = place(0, loss)
        yield f'<line x1="{CURVE_LEFT}" y1="{y:.1f}" x2="{CURVE_RIGHT}" y2="{y:.1f}" stroke="{FAINT}"/>'
        yield _text(CURVE_LEFT - 8, y + 4, str(loss), "end")
    points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in curve)
    yield f'<polyline points="{points}" fill="none" stroke="#2563eb" stroke-width="2.5"/>'
    x, y = place(*curve[-1])
    yield _text(x, y - 10, f"{curve[-1][1]:.2f}", "end")
    for step in (0, last_step / 2, last_step):
        yield _text(place(step, 0)[0], BOTTOM + 18, f"{step:.0f}")
    yield _text((CURVE_LEFT + CURVE_RIGHT) / 2, BOTTOM + 34, "optimizer step", more=' font-size="11" fill="#616e7c"')


def main() -> None:
    """Read the runs and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="the folder of the quickstart's runs")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(picture(scores(options.logs), loss_curve(options.logs)))


if __name__ == "__main__":
    main()
