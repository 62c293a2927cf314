"""Parser of the recipes in ``docs/extending.md``, which applies their edits to a folder.

A line that starts with a path in bold describes an edit; the fenced block below it holds the text::

    **`path`** (new file)
    **`path`** (copy of `other`)
    **`path`**, after `line`
    **`path`**, in place of `line`
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

DOCUMENT = Path(__file__).parents[1] / "docs" / "extending.md"

_EDIT = re.compile(
    r"\*\*`(?P<path>[^`]+)`\*\*"
    r"(?: \((?P<new>new file|copy of)(?: `(?P<source>[^`]+)`)?\)|, (?P<how>after|in place of) `(?P<line>[^`]+)`)"
)
_FENCE = re.compile(r"```(?P<language>\w+)\n(?P<text>.*?)```\n", re.DOTALL)


@dataclass(frozen=True)
class Edit:
    """Change of one file."""

    path: str
    kind: Literal["new file", "copy of", "after", "in place of"]
    text: str = ""
    """Text of the fenced block."""
    anchor: str = ""
    """Line before the inserted block, line that the block replaces, or path of the file to copy."""

    def apply(self, folder: Path) -> None:
        """Apply the edit in ``folder``; the anchor must occur exactly once, and a new file must not exist."""
        file = folder / self.path
        if self.kind in ("new file", "copy of"):
            assert not file.exists(), f"{self.path} already exists"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text if self.kind == "new file" else (folder / self.anchor).read_text())
            return
        lines = file.read_text().splitlines(keepends=True)
        assert lines.count(f"{self.anchor}\n") == 1, f"{self.path} must contain this line exactly once: {self.anchor}"
        index = lines.index(f"{self.anchor}\n")
        lines[index : index + 1] = [lines[index], self.text] if self.kind == "after" else [self.text]
        file.write_text("".join(lines))


@dataclass
class Recipe:
    """Section of the document, with its edits and shell commands."""

    title: str
    edits: list[Edit] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def new(self) -> set[str]:
        """Paths of the files that the recipe creates."""
        return {edit.path for edit in self.edits if edit.kind in ("new file", "copy of")}

    @property
    def changed(self) -> set[str]:
        """Paths of the existing files that the recipe changes."""
        return {edit.path for edit in self.edits} - self.new

    def apply(self, folder: Path) -> None:
        """Apply all edits in ``folder``."""
        for edit in self.edits:
            edit.apply(folder)


def recipes() -> dict[str, Recipe]:
    """Return the recipes of the document, by title."""
    sections = re.split(r"^## (.+)\n", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    return {title: _recipe(title, text) for title, text in zip(sections[::2], sections[1::2], strict=True)}


def _recipe(title: str, text: str) -> Recipe:
    recipe = Recipe(title)
    fences = {fence.start(): fence for fence in _FENCE.finditer(text)}
    blocks = [(fence.start(), fence.end()) for fence in fences.values()]
    for match in _EDIT.finditer(text):
        if any(start <= match.start() < end for start, end in blocks):
            continue
        kind: Any = match["new"] or match["how"]
        if kind == "copy of":
            recipe.edits.append(Edit(match["path"], kind, anchor=match["source"]))
            continue
        fence = fences[match.end() + len("\n\n")]
        recipe.edits.append(Edit(match["path"], kind, fence["text"], match["line"] or ""))
    recipe.commands = [
        line for fence in fences.values() if fence["language"] == "sh" for line in fence["text"].splitlines()
    ]
    return recipe
