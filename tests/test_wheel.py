"""The wheel, installed into a virtual environment outside the repository.

The environment has the dependencies of the one that runs the tests through a ``.pth`` file. An installation of its own
takes minutes, most of them for torch. So these tests do not prove that pip can resolve and install the dependencies;
``test_every_import_is_a_declared_dependency`` finds missing ones.
"""

import ast
import email
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gpt_lightning import __version__
from tests.test_language import PROSE

ROOT = Path(__file__).parents[1]
CONFIGS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}

pytestmark = pytest.mark.slow


def call(*command: str | Path, folder: Path) -> str:
    """Run a command in a folder, without the repository on the path, and return its output."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PL_GLOBAL_SEED")}
    environment |= {"PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, as for an upload; return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """Return the wheel, which is named after the version."""
    return built / f"gpt_lightning-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a bare virtual environment and return the folder of its commands."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", ".venv", folder=folder)
    python = folder / ".venv/bin/python"
    (own,) = (folder / ".venv/lib").glob("python*/site-packages")
    # Python reads no .pth files in a folder that a .pth file names, so an editable installation there has no effect.
    (own / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    call(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, folder=folder)
    found = call(python, "-c", "import gpt_lightning; print(gpt_lightning.__file__)", folder=folder)
    assert Path(found.strip()) == own / "gpt_lightning/__init__.py"
    return folder / ".venv/bin"


def test_contents(built: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"gpt_lightning/{name}" for name in CONFIGS} <= names
    assert {"gpt_lightning/py.typed", "gpt_lightning/pages/page.html"} <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gpt_lightning").rglob("*.py")}
    info = f"gpt_lightning-{__version__}.dist-info"
    assert {name for name in names if name.endswith(".py")} == modules
    assert f"{info}/licenses/LICENSE" in names
    assert {name.split("/")[0] for name in names} == {"gpt_lightning", info}
    with tarfile.open(built / f"gpt_lightning-{__version__}.tar.gz") as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml", "zensical.toml"}
    needed |= {path.relative_to(ROOT).as_posix() for path in PROSE}
    assert {*CONFIGS, *modules, *needed} <= files


def imports() -> Iterator[str]:
    """Yield the names of the top-level modules that the package imports from other projects."""
    for file in (ROOT / "gpt_lightning").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            yield from (name.split(".")[0] for name in names)


def test_every_import_is_a_declared_dependency(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"gpt_lightning-{__version__}.dist-info/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    required = metadata.get_all("Requires-Dist") or []
    declared = {re.split(r"[^\w.-]", each)[0].lower().replace("_", "-") for each in required if "'test'" not in each}
    others = set(imports()) - {*sys.stdlib_module_names, "gpt_lightning"}
    distributions = importlib.metadata.packages_distributions()
    missing = {
        name for name in others if not {each.lower().replace("_", "-") for each in distributions[name]} & declared
    }
    assert len(others) > 10
    assert not missing


def test_first_steps(installed: Path, tmp_path: Path) -> None:
    program = installed / "gpt-lightning"
    assert "gpt-lightning COMMAND" in call(program, "--help", folder=tmp_path)
    assert call(program, "--version", folder=tmp_path) == f"gpt-lightning {__version__}\n"
    (tmp_path / "text.txt").write_text("the rain in spain stays mainly in the plain\n" * 100)
    config = call(program, "init", "pretrain", "--train", "text.txt", folder=tmp_path)
    (tmp_path / "my.yaml").write_text(config)
    limits = ("--trainer.max_steps=5", "--trainer.accelerator=cpu", "--data.cache_dir=cache")
    call(program, "fit", "-c", "my.yaml", *limits, folder=tmp_path)
    run = f"logs/{yaml.safe_load(config)['experiment']}/version_0"
    assert len(call(program, "generate", run, "--prompt", "the", "--max_new_tokens", "5", folder=tmp_path)) > 3


def test_shipped_configurations_have_names(installed: Path, tmp_path: Path) -> None:
    program = installed / "gpt-lightning"
    listed = {line.split()[0] for line in call(program, "init", "--list", folder=tmp_path).splitlines()}
    assert listed == {Path(name).stem for name in CONFIGS if name.count("/") == 1}
    printed = call(program, "fit", "-c", "qa_squad2", "--data.train=a", "--print_config", folder=tmp_path)
    assert yaml.safe_load(printed)["model"]["init_args"]["backbone"]["n_embd"] == 128, (
        "backbone/llama_nano_decoder.yaml"
    )
