"""Imports and calls that must work on every platform, not only on POSIX ones."""

import os
import subprocess
import sys
from pathlib import Path

import psutil  # noqa: F401  # needs the resource module itself on Linux, so before a test hides it
import pytest
import torch

from gpt_lightning import atomic_files
from gpt_lightning.training.peak_memory import peak_memory_gb

POSIX_ONLY = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
"""Modules of the standard library that Windows does not have. Only this package may not import them: its dependencies
do on Linux, but not on Windows."""

IMPORT_ALL = f"""
import builtins, importlib, pkgutil
usual = builtins.__import__

def import_(name, importer=None, *rest, **named):
    if name in {POSIX_ONLY} and importer and importer.get("__name__", "").startswith("gpt_lightning"):
        raise ModuleNotFoundError(importer["__name__"] + " imports " + name)
    return usual(name, importer, *rest, **named)

builtins.__import__ = import_
import gpt_lightning
names = [each.name for each in pkgutil.walk_packages(gpt_lightning.__path__, "gpt_lightning.")]
for name in names:
    if name != "gpt_lightning.__main__":
        importlib.import_module(name)
print(len(names))
"""


def test_every_module_imports_without_posix_modules() -> None:
    done = subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", IMPORT_ALL], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    package = Path(atomic_files.__file__).parent
    assert int(done.stdout) == len(list(package.rglob("*.py"))) - 1, "one name for each file but the package's own"


def test_files_and_folders_are_written_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows cannot open a folder as a file, and has no ``flock``."""
    usual = os.open

    def open_file(path: Path, *arguments: int) -> int:
        assert not Path(path).is_dir()
        return usual(path, *arguments)

    monkeypatch.setattr(atomic_files, "_IS_POSIX", False)
    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    (tmp_path / ".a.1.unfinished").touch()
    with atomic_files.atomic_write(tmp_path / "a") as file:
        file.write(b"text")
    with atomic_files.atomic_folder(tmp_path / "folder") as folder:
        (folder / "b").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "folder"]


def test_peak_memory_without_the_resource_module(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = peak_memory_gb(torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory_gb(torch.device("cpu")) == pytest.approx(usual, rel=0.5)
