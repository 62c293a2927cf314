"""HTML of the Markdown that loggers receive: escaped text with bold parts and line breaks."""

import html
import re
from collections.abc import Iterator
from typing import Final

from markupsafe import Markup

from gpt_lightning.pages.text import escape_forbidden

_TOKEN: Final = re.compile(r"\\([^\w\s]|_)|(\*\*)|(&(?:#\d{1,7}|[a-z]{1,8});)|( {2,}\n|\n{2,})|( +|[^\\*&\n ]+|.|\n)")
"""Escaped character, mark of bold text, entity, line break, other text.

Blanks are matched all at once, so that a long row of them takes linear time.
"""


def markdown_to_html(markdown: str) -> Markup:
    """Return HTML of Markdown that ``tasks/error_examples.py`` and ``training/logger_media.py`` write.

    Everything but bold parts and line breaks is shown as text.
    """
    parts, is_bold = [], False
    for kind, text in _tokens(markdown):
        if kind == "bold":
            is_bold = not is_bold
            parts.append(Markup("<strong>" if is_bold else "</strong>"))
        else:
            parts.append(Markup("{}").format(escape_forbidden(text)))
    return Markup("<p>{}{}</p>").format(Markup("").join(parts), Markup("</strong>" if is_bold else ""))


def _tokens(markdown: str) -> Iterator[tuple[str, str]]:
    for escaped, bold, entity, line_break, other in _TOKEN.findall(markdown):
        if bold:
            yield "bold", ""
        elif entity:
            yield "text", html.unescape(entity).replace("\xa0", " ")
        else:
            yield "text", escaped or ("\n" if line_break else other)
