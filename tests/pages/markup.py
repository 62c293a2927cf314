"""Strict parsing of pages and charts for tests."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\x1b]0;\x07\x00\ud800\uffff\u202e{{ 7*7 }}&amp;'
"""Text with markup, control characters, a lone surrogate, a change of direction, and a template expression."""
VOID = {"meta", "br", "img", "link", "input", "hr"}


class _Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check_page(page: str) -> _Balanced:
    """Check that a page is well-formed, self-contained and free of scripts; return its tags and text."""
    parser = _Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    for tag, attributes in parser.tags:
        assert tag not in ("script", "iframe", "object", "embed", "link", "img", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "action")
            assert name != "href" or str(value).startswith("#")
    assert not re.search(r"@import|url\(", page)
    assert page.encode().decode() == page
    ids = [attributes["id"] for _, attributes in parser.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    return parser


def svg_of(figure: str) -> ElementTree.Element:
    """Return the first image of a figure, parsed as XML."""
    root = ElementTree.fromstring(f"<div>{figure}</div>")
    (svg,) = [each for each in root.iter("svg") if each.get("role") == "img"]
    return svg


def texts(svg: ElementTree.Element, class_: str) -> list[str]:
    """Return the texts of the elements with a class."""
    return [each.text or "" for each in svg.iter("text") if class_ in str(each.get("class")).split()]


def axis(svg: ElementTree.Element, name: str) -> tuple[float, float]:
    """Return (slope, offset) of the values of an axis by its pixels, read from its first and last tick."""
    ticks = [each for each in svg.iter("text") if each.get("class") == f"tick {name}"]
    shift = 4 if name == "y" else 0
    (low, start), (high, end) = (
        (float((each.text or "").replace("−", "-").replace(",", "")), float(each.get(name, "")) - shift)
        for each in (ticks[0], ticks[-1])
    )
    slope = (high - low) / (end - start)
    return slope, low - slope * start
