"""Imports point one way: from what sees much to what sees little."""

import ast
from pathlib import Path

import gpt_lightning
from tests.tree import BEGIN, DOCUMENT, END, tree

PACKAGE = Path(gpt_lightning.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "": set(),  # __init__
    "batch": set(),
    "errors": set(),
    "atomic_files": set(),
    "toy_world": set(),
    "models": {"errors", "batch", "atomic_files"},
    "optim": {"errors", "batch"},
    "metrics": {"errors", "batch"},
    "data": {"errors", "batch", "atomic_files"},
    "tasks": {"errors", "batch", "models", "optim", "metrics"},
    "training": {"errors", "batch", "atomic_files", "models", "optim", "metrics", "tasks", "data"},
    "commands": {
        "",
        "errors",
        "batch",
        "atomic_files",
        "models",
        "optim",
        "metrics",
        "tasks",
        "data",
        "training",
        "commands",
    },
    "cli": {"", "errors", "commands"},
    "__main__": {"cli"},
}
"""Room -> the rooms that it may import; each may import itself."""


def imported(file: Path) -> set[str]:
    """The rooms that a file imports."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "gpt_lightning":
            names = [f"gpt_lightning.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gpt_lightning":
                room = parts[1] if len(parts) > 1 else ""
                rooms.add("" if room.startswith("__version") else room)
    return rooms


def test_imports_point_one_way() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 40
    wrong = []
    for file in files:
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        room = "" if parts == ("__init__",) else parts[0]
        wrong += [
            f"{file.relative_to(PACKAGE)} imports {other}" for other in imported(file) - MAY_IMPORT[room] - {room}
        ]
    assert not wrong


def test_models_do_not_know_lightning() -> None:
    for room in ("models", "optim"):
        for file in (PACKAGE / room).rglob("*.py"):
            assert "import lightning" not in file.read_text(), file


def test_every_room_is_in_the_picture() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name[0] != "_")}
    assert rooms - {"__init__"} == set(MAY_IMPORT) - {""}


def test_architecture_page_shows_every_file() -> None:
    document = DOCUMENT.read_text()
    assert BEGIN + tree() + END in document, "run python -m tests.tree"
    assert tree().count(".py ") > 100


def test_help_answers_at_once() -> None:
    """Nothing heavy is imported before it is known what for."""
    import subprocess
    import sys

    script = "import sys; from gpt_lightning.cli import main; main(['--help']); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.rsplit("\n", 2)[-2].split())
    assert "gpt_lightning.cli" in loaded
    assert not loaded & {"torch", "lightning", "numpy", "jsonargparse", "tokenizers", "datasets"}
