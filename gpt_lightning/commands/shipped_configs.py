"""Configurations that ship with the package, found by name from any working directory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home
from gpt_lightning.text_tables import text_table

_PACKAGE: Final = Path(__file__).parents[1]
_CONFIG_FLAGS: Final = ("-c", "--config")
_BACKBONE_FLAG: Final = "--model.backbone"
_NOT_IN_PATHS: Final = frozenset("{}[]!&:\n\0")
"""Characters that mark YAML given in place of a file."""


def folder() -> Path:
    """Return the folder of the shipped YAMLs: in an installed package, or at the top level of a checkout."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Return the names that ``-c`` takes, sorted."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def listing() -> str:
    """Return a line for each shipped configuration: its name and the first line of its comment."""
    return "\n".join(text_table([[name, _summary(folder() / f"{name}.yaml")] for name in names()]))


def backbone(name: str) -> dict[str, Any]:
    """Return the arguments of a shipped backbone."""
    import yaml

    shape: dict[str, Any] = yaml.safe_load((folder() / "backbone" / f"{name}.yaml").read_text(encoding="utf-8"))
    return shape


def with_paths(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a run with paths in place of the names of shipped files.

    ``-c NAME`` means a file in the working directory or else a shipped configuration, and ``--model.backbone NAME`` a
    shipped backbone; the suffix ``.yaml`` may be left out.

    Raises:
        InputError: ``-c`` names a file that does not exist.
    """
    return list(_with_paths(arguments))


def _with_paths(arguments: Sequence[str]) -> Iterator[str]:
    flag = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if flag in _CONFIG_FLAGS:
            yield _config(argument)
        elif flag == _BACKBONE_FLAG:
            yield _backbone(argument)
        elif equals and name in _CONFIG_FLAGS:
            yield f"{name}={_config(value)}"
        elif equals and name == _BACKBONE_FLAG:
            yield f"{name}={_backbone(value)}"
        elif argument.startswith("-c") and argument != "-c":
            yield f"-c{_config(argument.removeprefix('-c'))}"
        else:
            yield argument
        flag = argument


def _config(name: str) -> str:
    """Return the path of the configuration that ``name`` means; YAML in place of a file is left alone."""
    if _NOT_IN_PATHS.intersection(name) or not name:
        return name
    found = _find(name, folder())
    if found is None:
        stem = Path(name).stem
        hint = f"A shipped configuration has this name: -c {stem}" if stem in names() else _shipped()
        raise InputError(f"-c {name}: the file does not exist (from {Path.cwd()}). {hint}")
    return found


def _backbone(name: str) -> str:
    return name if _NOT_IN_PATHS.intersection(name) else _find(name, folder() / "backbone") or name


def _find(name: str, shipped: Path) -> str | None:
    """Return the first that exists: a file in the working directory, a shipped file, or a pipe or folder."""
    with_suffix = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    own, own_with_suffix = expand_home(name), expand_home(with_suffix)
    candidates = [own, own_with_suffix, *([shipped / with_suffix] if Path(name).name == name else [])]
    try:
        found = next((path for path in candidates if path.is_file()), own if own.exists() else None)
    except OSError:  # The text is too long for the name of a file.
        return None
    return None if found is None else str(found)


def _shipped() -> str:
    return f"Shipped configurations, for use by name: {', '.join(names())}"


def _summary(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
