"""Tests that apply the recipes of ``docs/extending.md`` to copies of the repository."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from difflib import ndiff
from pathlib import Path

import pytest

from gpt_lightning.atomic_files import sha256
from tests.python_server import PythonServer
from tests.recipes import recipes

ROOT = Path(__file__).parents[1]
RECIPES = recipes()
TREE = "docs/architecture.md"
"""The only existing file that a recipe's commands may rewrite."""

HOUSE = {
    # title -> new files (besides a YAML and a test), YAMLs, changed files, lines added to each of these
    "A task head on an existing batch": (1, 1, 1, 1),
    "A data module for an existing batch": (1, 1, 1, 1),
    "A Hugging Face model family": (1, 0, 1, 2),
    "A GPTConfig field": (0, 0, 2, 2),
    "An optimizer": (1, 0, 1, 4),
    "A learning-rate schedule": (0, 0, 1, 6),
    "A metric": (1, 0, 1, 1),
    "A file format": (1, 0, 1, 2),
    "A decoding strategy": (1, 0, 0, 0),
}
"""Limits on the files and lines that each change may touch."""
OWN = {"A task head in your own package", "A data module in your own package"}
"""Recipes for code outside the repository; ``test_own_package.py`` applies them."""


def copy_repository(folder: Path) -> Path:
    """Copy the files of the repository that git tracks or would add; of an unpacked sdist, all but caches.

    The bytecode comes along, so that the copy does not compile every module in every process.
    """
    if not (ROOT / ".git").exists():
        return Path(
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"), dirs_exist_ok=True)
        )
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for cache in (*ROOT.glob("gpt_lightning/**/__pycache__"), *ROOT.glob("tests/**/__pycache__")):
        shutil.copytree(cache, folder / cache.relative_to(ROOT))
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 digest of each file outside caches."""
    files = (path for path in folder.rglob("*") if path.is_file() and "cache" not in str(path.relative_to(folder)))
    return {str(path.relative_to(folder)): sha256(path) for path in files}


@pytest.fixture(scope="module")
def python() -> Iterator[PythonServer]:
    """Start a server for the commands of recipes."""
    with PythonServer() as server:
        yield server


def run(python: PythonServer, folder: Path, command: str) -> None:
    """Run a recipe's command in a copy of the repository and assert that it succeeds."""
    words = shlex.split(command)
    assert words[:2] == ["python", "-m"]
    code, output = python.run(folder, *words[2:])
    assert code == 0, f"{command}\n{output[-6000:]}"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a copy of the repository and the digests of its files."""
    folder = copy_repository(tmp_path_factory.mktemp("copied"))
    return folder, digests(folder)


def test_there_is_a_recipe_for_each_change() -> None:
    assert set(RECIPES) == set(HOUSE) | OWN
    for title in HOUSE:
        assert any("python -m pytest" in command for command in RECIPES[title].commands), title


@pytest.mark.parametrize("title", HOUSE)
def test_a_recipe_names_few_files(title: str, tmp_path: Path) -> None:
    recipe = RECIPES[title]
    num_files, num_yamls, num_changed, num_lines = HOUSE[title]
    yamls = {name for name in recipe.new if name.endswith(".yaml")}
    tests = {name for name in recipe.new if name.startswith("tests/")}
    assert (len(yamls), len(tests), len(recipe.changed)) == (num_yamls, 1, num_changed)
    assert len(recipe.new - yamls - tests) == num_files
    for name in recipe.changed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    recipe.apply(tmp_path)
    for name in recipe.changed:
        old, new = ((folder / name).read_text().splitlines() for folder in (ROOT, tmp_path))
        assert len([line for line in ndiff(old, new) if line.startswith("+ ")]) <= num_lines, name


@pytest.mark.slow
@pytest.mark.parametrize("title", HOUSE)
def test_a_recipe_touches_the_files_that_it_names_and_no_others(
    title: str, copied: tuple[Path, dict[str, str]], python: PythonServer, tmp_path: Path
) -> None:
    recipe, (repository, before) = RECIPES[title], copied
    folder = tmp_path / "repository"
    shutil.copytree(repository, folder)
    recipe.apply(folder)
    for command in recipe.commands:
        run(python, folder, command)
    after = digests(folder)
    touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    written = {TREE} if "python -m tests.tree" in recipe.commands else set()
    assert touched == recipe.new | recipe.changed | written


@pytest.fixture(scope="module")
def extended(copied: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository with all recipes applied."""
    folder = tmp_path_factory.mktemp("extended") / "repository"
    shutil.copytree(copied[0], folder)
    for title in HOUSE:
        RECIPES[title].apply(folder)
    return folder


@pytest.mark.slow
def test_code_of_all_recipes_is_clean(extended: Path, python: PythonServer) -> None:
    files = set.union(*(RECIPES[title].new | RECIPES[title].changed for title in HOUSE))
    sources = " ".join(sorted(name for name in files if name.endswith(".py")))
    run(python, extended, f"python -m ruff check {sources}")
    run(python, extended, f"python -m ruff format --check {sources}")
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", extended / ".mypy_cache")
    run(python, extended, f"python -m mypy {sources}")


@pytest.mark.slow
def test_all_recipes_applied_at_once_pass_the_sweeps(extended: Path, python: PythonServer) -> None:
    """The sweeps are tests over all tasks, data modules, families, fields or configurations."""
    data = "tests/data/test_arguments.py tests/data/test_text_pairs.py tests/data/test_own_data_module.py"
    lists = f"{data} tests/tasks/test_load.py tests/models/huggingface/test_families.py"
    run(python, extended, f"python -m pytest {lists} tests/test_configs.py::test_the_sweep_sees_every_configuration")


def test_the_data_module_is_the_one_that_tests_use() -> None:
    (edit,) = (
        each
        for each in RECIPES["A data module for an existing batch"].edits
        if "text_pairs" in each.path and each.path.startswith("gpt_lightning/data/t")
    )
    assert edit.text == (ROOT / "tests/data/text_pairs.py").read_text()
