"""The code blocks of a Markdown page, and the comments in front of them that say how a test treats them.

    <!-- not run: REASON -->            the block is not run
    <!-- with: FLAGS -->                its gpt-lightning commands get these flags too, to be short
    <!-- fails -->                      its command fails, with the message that the next block shows
    <!-- setup                          commands that readers do not see
    COMMANDS
    -->

A block with ``title="FILE"`` is a file that the following blocks use.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
EXTENDING: Final = ROOT / "docs" / "extending.md"
"""Its blocks are recipes, which ``test_extending.py`` follows."""
PAGES: Final = [ROOT / "README.md", *sorted({*(ROOT / "docs").glob("*.md")} - {EXTENDING})]
CODE: Final = ("sh", "python")
"""Languages of blocks that a reader types."""

_COMMENT: Final = re.compile(r"<!-- (not run|with|fails|setup)\b:?(.*?)-->\n", re.DOTALL)
_FENCE: Final = re.compile(r"^(```+)(\w*)([^\n]*)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
_TITLE: Final = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block of a page or, with the language ``setup``, the commands in a comment."""

    page: Path
    line: int
    language: str
    text: str
    title: str = ""
    comments: dict[str, str] = field(default_factory=dict)
    """Name -> value of the comments right before the block."""

    @property
    def where(self) -> str:
        """The block's place for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_code(self) -> bool:
        """True for a block that a reader types."""
        return self.language in CODE and not self.title


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    fences = {match.start(): match for match in _FENCE.finditer(text)}
    comments: dict[str, str] = {}
    end_of_comment = -1
    for match in sorted([*fences.values(), *_COMMENT.finditer(text)], key=lambda match: match.start()):
        line = text.count("\n", 0, match.start()) + 1
        if match.start() not in fences:
            if any(fence.start() < match.start() < fence.end() for fence in fences.values()):
                continue
            name, value = match[1], match[2].strip()
            if name == "setup":
                found.append(Block(page, line, "setup", value))
                continue
            comments = comments if end_of_comment == match.start() else {}
            comments[name] = value
            end_of_comment = match.end()
            continue
        title = _TITLE.search(match[3])
        near = comments if end_of_comment == match.start() else {}
        found.append(Block(page, line, match[2], match[4], title[1] if title else "", near))
    return found
