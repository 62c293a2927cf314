"""Small parts of a page: folded content, code, and figures."""

from collections.abc import Sequence

from markupsafe import Markup

from gpt_lightning.pages.text import escape_forbidden


def fold(summary: str, content: Markup, *, is_open: bool = False) -> Markup:
    """Return content below a line that opens and closes it."""
    return Markup("<details{}><summary>{}</summary>{}</details>").format(
        Markup(" open") if is_open else "", escape_forbidden(summary), content
    )


def code(text: str) -> Markup:
    """Return preformatted text, such as commands or YAML."""
    return Markup('<pre tabindex="0"><code>{}</code></pre>').format(escape_forbidden(text))


def figure(title: str, content: Markup, notes: Sequence[str] = ()) -> Markup:
    """Return a titled figure with notes below it."""
    return Markup("<figure><figcaption>{}</figcaption>{}{}</figure>").format(
        escape_forbidden(title),
        content,
        Markup("").join(Markup('<p class="note">{}</p>').format(note) for note in notes),
    )


def side_by_side(figures: Sequence[Markup]) -> Markup:
    """Return figures or tables in as many columns as the window has room for."""
    return Markup('<div class="charts">{}</div>').format(Markup("").join(figures))
