"""Imports point one way: from what sees much to what sees little."""

import ast
import graphlib
from pathlib import Path

import gpt_lightning
from tests.tree import BEGIN, DOCUMENT, END, tree

PACKAGE = Path(gpt_lightning.__file__).parent

LAYERS: list[set[str]] = [
    {"batch", "errors", "atomic_files", "unpack", "toy_world"},
    {"models", "optim", "metrics"},
    {"checkpoints", "tokenizers"},
    {"tasks", "data"},
    {"evaluation"},
    {"training"},
    {"commands", "api"},
    {"cli"},
    {"__main__"},
]
"""The rooms of the package, from those that see least. A room imports itself and rooms of the layers before its own."""


def imported_modules(file: Path) -> set[str]:
    """The modules of the package that a file imports, inside functions too."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # Either may be the module: "from package import name" imports the name's, if it is one.
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found = {name for name in submodules if is_module(name)}
            modules |= found if len(found) == len(submodules) else {*found, str(node.module)}
    return {name for name in modules if name.split(".")[0] == "gpt_lightning"}


def is_module(name: str) -> bool:
    """Whether there is a file or a folder of the package by this name."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported(file: Path) -> set[str]:
    """The rooms that a file imports."""
    return {name.split(".")[1] if "." in name else "" for name in imported_modules(file)}


def room_of(file: Path) -> str:
    """The room that a file belongs to; "" for the package's own ``__init__``."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def test_imports_point_one_way() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    layer = {room: number for number, rooms in enumerate(LAYERS) for room in rooms} | {"": -1}
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {other}"
        for file in files
        if room_of(file)  # the package's own __init__ names what is public, and imports it when it is used
        for other in imported(file) - {room_of(file)}
        if layer[other] >= layer[room_of(file)]
    ]
    assert not wrong


def test_no_imports_go_in_a_circle() -> None:
    modules = {
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): file
        for file in PACKAGE.rglob("*.py")
    }
    graph = {name: imported_modules(file) & (modules.keys() - {name}) for name, file in modules.items()}
    assert sum(map(len, graph.values())) > 300
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises a CycleError that names the circle


def test_models_do_not_know_lightning() -> None:
    for room in ("models", "optim"):
        for file in (PACKAGE / room).rglob("*.py"):
            assert "import lightning" not in file.read_text(), file


def test_every_room_has_a_layer() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name[0] != "_")}
    assert rooms - {"__init__"} <= set.union(*LAYERS)


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
