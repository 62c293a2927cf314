"""Tests of the layout: imports point one way, and the architecture page shows every file."""

import ast
import difflib
import graphlib
import itertools
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import gpt_lightning
from gpt_lightning import tasks
from tests.tree import BEGIN, DOCUMENT, END, tree

PACKAGE = Path(gpt_lightning.__file__).parent

LAYERS: list[set[str]] = [
    {"batch", "child_processes", "errors", "atomic_files", "hardware", "plain_types", "printable", "paths", "unpack"},
    {"bounded_files", "downloads", "output_files", "ranges", "status", "text_tables", "unsupported_callbacks"},
    {"pages", "toy_world"},
    {"models", "optim", "metrics", "named_classes", "sandbox"},
    {"checkpoints", "tokenizers"},
    {"tasks", "data"},
    {"evaluation"},
    {"training"},
    {"api"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
"""Rooms of the package, lowest layer first. A room imports only itself and rooms of lower layers."""


@cache
def parsed(file: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text())


@cache
def imported_modules(file: Path) -> frozenset[str]:
    """Return the modules of the package that a file imports, including imports inside functions."""
    modules = set()
    for node in ast.walk(parsed(file)):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # In "from package import name", the name may be a module itself.
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found = {name for name in submodules if is_module(name)}
            modules |= found if len(found) == len(submodules) else {*found, str(node.module)}
    return frozenset(name for name in modules if name.split(".")[0] == "gpt_lightning")


@cache
def is_module(name: str) -> bool:
    """Return whether ``name`` is a module or a sub-package of the package."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported(file: Path) -> set[str]:
    """Return the rooms that a file imports."""
    return {name.split(".")[1] if "." in name else "" for name in imported_modules(file)}


def room_of(file: Path) -> str:
    """Return the room of a file, or "" for the package's own ``__init__``."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def test_imports_point_one_way() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    layer = {room: number for number, rooms in enumerate(LAYERS) for room in rooms} | {"": -1}
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {other}"
        for file in files
        if room_of(file)  # the package's own __init__ imports public names lazily
        for other in imported(file) - {room_of(file)}
        if layer[other] >= layer[room_of(file)]
    ]
    assert not wrong


def test_imports_have_no_cycle() -> None:
    modules = {
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): file
        for file in PACKAGE.rglob("*.py")
    }
    graph = {name: imported_modules(file) & (modules.keys() - {name}) for name, file in modules.items()}
    assert sum(map(len, graph.values())) > 300
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises a CycleError that names the cycle


def test_models_do_not_know_lightning() -> None:
    for room in ("models", "optim"):
        for file in (PACKAGE / room).rglob("*.py"):
            assert "import lightning" not in file.read_text(), file


def test_no_task_is_named_by_a_string() -> None:
    """Models and commands use attributes that a task class declares, because users name their own classes freely."""
    names = {task.__name__ for task in tasks.CONCRETE}
    files = [file for room in ("models", "commands") for file in (PACKAGE / room).rglob("*.py")]
    assert len(files) > 50
    wrong = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in files
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not wrong


def test_imported_packages_are_declared() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    extras = [each for name, each in project["optional-dependencies"].items() if name not in ("docs", "test")]
    declared = {normalized(re.split(r"[\[<>=]", line)[0]) for line in sum(extras, project["dependencies"])}
    names: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    other_names = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    foreign = names - sys.stdlib_module_names - {"gpt_lightning"}
    assert len(foreign) > 15
    assert {normalized(other_names.get(name, name)) for name in foreign} <= declared


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_two_constructors_share_six_lines() -> None:
    """Shared arguments are declared once, in the base class, and passed on."""
    constructors = {
        f"{file.stem}.{owner.name}": [line.strip() for line in ast.unparse(node).splitlines()]
        for room in ("tasks", "data")
        for file in (PACKAGE / room).glob("*.py")
        for owner in ast.walk(parsed(file))
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    }
    assert len(constructors) > 8
    arguments = {
        name: {arg.arg for arg in ast.walk(ast.parse("\n".join(lines[:1]) + " pass")) if isinstance(arg, ast.arg)}
        for name, lines in constructors.items()
    }
    for one, other in itertools.combinations(constructors, 2):
        assert len(arguments[one] & arguments[other] - {"self", "settings"}) < 6, (one, other)
        assert longest_common_run(constructors[one][1:], constructors[other][1:]) < 6, (one, other)


def longest_common_run(one: list[str], other: list[str]) -> int:
    """Return the length of the longest run of lines that both contain."""
    return difflib.SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size


def test_every_room_has_a_layer() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name[0] != "_")}
    assert rooms - {"__init__"} <= set.union(*LAYERS)


def test_architecture_page_shows_every_file() -> None:
    document = DOCUMENT.read_text()
    assert BEGIN + tree() + END in document, "run python -m tests.tree"
    assert tree().count(".py ") > 100


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    script = "import sys; from gpt_lightning.cli import main; main(['--help']); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.rsplit("\n", 2)[-2].split())
    assert "gpt_lightning.cli" in loaded
    assert not loaded & {"torch", "lightning", "numpy", "jsonargparse", "tokenizers", "datasets"}
