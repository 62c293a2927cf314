"""Tree of the package for ``docs/architecture.md``: every file with the first line of its docstring.

Run ``python -m tests.tree`` after you add, move or rename a file.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree: begin -->\n```\n", "```\n<!-- tree: end -->"


def tree() -> str:
    """Return a line for every folder and file of the package."""
    package = ROOT / "gpt_lightning"
    return f"{'gpt_lightning/':<34}{_summary(package / '__init__.py')}\n" + _lines(package, depth=1)


def _lines(folder: Path, depth: int) -> str:
    text = ""
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        file = path / "__init__.py" if path.is_dir() else path
        if path.name.startswith("__") or file.suffix != ".py" or not file.is_file():
            continue
        name = f"{'  ' * depth}{path.name}{'/' if path.is_dir() else ''}"
        text += f"{name:<33} {_summary(file)}".rstrip() + "\n"
        text += _lines(path, depth + 1) if path.is_dir() else ""
    return text


def _summary(file: Path) -> str:
    # The module's docstring ends at the second quotes. Parsing the code below it would take a second for all files.
    opening = '"""'.join(file.read_text().split('"""')[:2]) + '"""'
    docstring = ast.get_docstring(ast.parse(opening)) or ""
    return docstring.split("\n\n")[0].replace("\n", " ").removesuffix(".")


def main() -> None:
    """Write the tree into the document."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + tree() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
