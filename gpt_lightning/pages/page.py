"""Self-contained HTML pages: style inline, no script, nothing loaded from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from gpt_lightning.output_files import output_file
from gpt_lightning.pages.text import escape_forbidden


@dataclass(frozen=True)
class Section:
    """Titled part of a page."""

    title: str
    body: Sequence[Markup | str]
    """Parts below the title. A string is escaped and becomes a paragraph; markup is kept."""
    summary: str = ""
    """Sentence below the title that tells what the section shows."""


def render_page(title: str, sections: Sequence[Section]) -> str:
    """Return an HTML page, which depends on nothing but the arguments.

    Characters that HTML forbids become visible escapes, also in markup.
    """
    return escape_forbidden(_template().render(title=title, sections=sections))


def write_page(path: Path, title: str, sections: Sequence[Section], *, overwrite: bool, remedy: str) -> None:
    """Write an HTML page, whole or not at all.

    Args:
        path: the file.
        title: title of the page.
        sections: parts of the page.
        overwrite: whether the file may exist.
        remedy: advice to choose another file, as a sentence without its period.

    Raises:
        InputError: the file exists or cannot be written.
        RunError: the disk is full.
    """
    page = render_page(title, sections).encode()
    with output_file(path, overwrite, remedy) as file:
        file.write(page)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["escape_forbidden"] = escape_forbidden
    environment.tests["markup"] = lambda value: isinstance(value, Markup)
    return environment.get_template("page.html")
