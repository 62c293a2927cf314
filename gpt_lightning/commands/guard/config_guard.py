"""Guard against flags and YAML files that would import code without the user's permission.

It reads all values as text before anything heavy is imported, and names the line of a value that it refuses.
``parser_imports.py`` limits the parser itself, which would import every value in the place of a class.
"""

import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from gpt_lightning.commands.guard.allowed_classes import Key, listed_names, slot_at
from gpt_lightning.commands.guard.checkpoint_guard import refuse_class_of_checkpoint
from gpt_lightning.commands.guard.file_values import refuse_value
from gpt_lightning.commands.guard.plain_yaml import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    MERGE,
    NotYamlError,
    Source,
    compose,
    refuse_duplicates,
)
from gpt_lightning.commands.guard.refusals import ALLOW, refused, refused_bare
from gpt_lightning.commands.shipped_configs import with_paths
from gpt_lightning.errors import InputError
from gpt_lightning.named_classes import is_allowed
from gpt_lightning.paths import expand_home
from gpt_lightning.unsupported_callbacks import why_unsupported

_YAML: Final = (".yaml", ".yml")
_CLASS_PATHS: Final = ("class_path", "_class_path")
_CALLBACKS: Final = ("trainer", "callbacks")
_CHECKPOINTS: Final = ("ckpt_path", "init_from")
_PATHS: Final = (*_CHECKPOINTS, "default_root_dir")
_SHORTHAND: Final = (("model",), ("input",), ("output",))
"""Options of ``predict`` that name a model and files of rows, which are never read as configuration."""
_FLAG: Final = re.compile(r"--([^=\s]+?)\+?(?:=(.*))?", re.DOTALL)
_STRUCTURE: Final = re.compile(r"[\[{:\n&!'\"-]")
_CLASS_NAME: Final = re.compile(r"(?!(?:True|False|None|Null)$)[A-Z]\w*[a-z]\w*")
"""Bare name of a class. Other names in the place of a class, such as ``ddp`` and ``simple``, are settings."""
_WITHOUT_SETTINGS: Final = (("trainer", "callbacks"), ("trainer", "logger"))
"""Keys at which every name is that of a class."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Command line that imports only what is allowed."""

    arguments: list[str]
    """The arguments without ``--allow_import``, which no YAML may contain; shipped configurations became paths."""
    own: tuple[str, ...]
    """Packages, modules, classes and functions that ``--allow_import`` names."""
    harmless: tuple[str, ...]
    """Dotted values, such as file names, that name no installed package."""


def check(arguments: Sequence[str]) -> Checked:
    """Check the arguments of a subcommand and all files that they name.

    Only listed classes may be named, and only in the slots of ``allowed_classes.py``.

    Args:
        arguments: the name of the subcommand and its options.

    Raises:
        InputError: a value names a class or a function that is not allowed, or a file is not plain YAML.
    """
    arguments = with_paths(arguments)
    options = list(_options(arguments))
    own = [name for key, value, _ in options if key == (ALLOW,) and value is not None for name in _allowed_names(value)]
    if not own and any(key == (ALLOW,) for key, _, _ in options):
        raise InputError(f"--{ALLOW} has no value. Give a package, as in --{ALLOW} my_package")
    is_short = arguments[0] == "predict" and any(key == ("input",) for key, _, _ in options)
    guard = _Guard(tuple(own))
    for key, value, token in options:
        source = Source(token, Path(), is_file=False, is_flag=True)
        if value is None or key == (ALLOW,) or (is_short and key in _SHORTHAND):
            continue
        if key == ("config",):
            guard.config(value, source)
        else:
            guard.text(value, key, source)
    return Checked(list(_without_allow(arguments)), tuple(own), tuple(sorted(guard.harmless)))


def check_keys(path: Path, keys: Sequence[str], own: Sequence[str] = ()) -> None:
    """Check a YAML file of which only some keys are used.

    Args:
        path: the file.
        keys: first parts of the keys that are used.
        own: names from ``--allow_import``.

    Raises:
        InputError: as in ``check``.
    """
    _Guard(tuple(own), frozenset(keys)).config(str(path), Source(str(path), Path(), is_file=False))


class _Guard:
    """Check of all values of a configuration; ``key`` is the place of a value, such as ("trainer", "logger")."""

    def __init__(self, own: tuple[str, ...], keys: frozenset[str] = frozenset()) -> None:
        self.own, self.keys = own, keys
        self.harmless: set[str] = set()
        self._values = 0
        self._open: list[Path] = []

    def config(self, value: str, source: Source) -> None:
        """Check a value of ``--config``: a file, or YAML in its place."""
        path = expand_home(value)
        if _exists(path):
            self._file(path, (), source)
        else:
            self._structure(value, (), source)

    def text(self, text: str, key: Key, source: Source) -> None:
        """Check a value that may be a class, the name of a file with more values, or YAML."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise InputError(
                f"{source.name}: more than {MAX_VALUES:,} values, too many for a configuration. Remove some"
            )
        text = text.strip()
        if not source.is_flag:
            refuse_value(key, text, f"{source.name}: {'.'.join(key)}")
        slot, files = _slot(key), list(_files(text, key, source))
        if slot is not None and "." in text and all(part.isidentifier() for part in text.split(".")):
            self._class(text, key, "maybe" if files and key[-1] not in _CLASS_PATHS else slot, source)
        elif _is_bare_class(text, key) and not files:
            self._class(text, key, "class", source)
        if key and key[-1] in _CHECKPOINTS:
            refuse_class_of_checkpoint(expand_home(text))
            return
        for path in files:
            self._file(path, key, source)
        self._structure(text, key, source)

    def _class(self, name: str, key: Key, slot: Literal["class", "maybe"], source: Source) -> None:
        """Refuse a class or a function that is not allowed at this key.

        A value that may be a text passes if no package of its first name is installed.
        """
        is_bare = "." not in name
        where = source.name if source.is_flag else f"{source.name}: {'.'.join(key)}"
        if key[:2] == _CALLBACKS and not (is_bare and self.own) and (reason := why_unsupported(name)) is not None:
            raise InputError(f"{where}: {reason}")
        # Bare names of the user's classes are not known here. The parser finds them, and applies the same list.
        if is_allowed(name, self.own) or name in listed_names(key) or (is_bare and self.own):
            return
        if slot == "maybe" and not _is_importable(name.split(".")[0]):
            self.harmless.add(name)
            return
        if is_bare:
            raise InputError(f"{where}: {refused_bare(name, slot_at(key))}")
        file = f". If it is a file, write ./{name}" if slot == "maybe" else ""
        raise InputError(f"{where}: {refused(name)}{file}")

    def _file(self, path: Path, key: Key, source: Source) -> None:
        """Check a file in the place of a value; it must be YAML if ``--config`` or its suffix says so."""
        if path.is_dir():
            raise InputError(f"{source.name}: {path} is a folder. Give a file, such as {path / 'config.yaml'}")
        if not path.is_file():
            raise InputError(
                f"{source.name}: {path} is not a regular file, but it must be read twice. "
                "Copy its content into a regular file"
            )
        resolved, is_yaml = path.resolve(), not key or path.suffix in _YAML
        if resolved in self._open:
            raise InputError(f"{source.name}: {path} contains itself. Write out its values")
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            text = content.decode()
        except OSError as error:
            raise InputError(
                f"{source.name}: cannot read {path}: {error.strerror}. Check the path and its permissions"
            ) from None
        except UnicodeDecodeError as error:
            if not is_yaml:
                return
            line = content[: error.start].count(b"\n") + 1
            raise InputError(f"{path}:{line}: not UTF-8. Save the file as UTF-8") from None
        if is_yaml and not text.strip():
            raise InputError(f"{path}: the file is empty. Write a configuration into it, or leave it out")
        if len(content) > MAX_BYTES and not is_yaml:
            return  # the parser does not read it as YAML either: it is a text or numbers
        inside = Source(str(path), path.parent, is_file=True)
        self._open.append(resolved)
        if is_yaml:
            root = compose(text, inside)
            refuse_duplicates(root, inside)
            self._node(root, key, inside)
        elif not self._structure(text, key, inside) and key[0] in ("trainer", "model"):
            for number, element in enumerate(text.splitlines()):  # a file may be a list with one element per line
                self.text(element, key, Source(inside.at(number), inside.folder, is_file=False))
        self._open.pop()

    def _structure(self, text: str, key: Key, source: Source) -> bool:
        """Check a text as YAML if it has lists or mappings, and return whether it has."""
        if not _STRUCTURE.search(text):
            return False
        try:
            root = compose(text, source)
        except NotYamlError:
            return False
        if root is None or (isinstance(root.value, str) and len(root.value) >= len(text.strip())):
            return False
        self._node(root, key, source)
        return not isinstance(root.value, str)

    def _node(self, node: Any, key: Key, source: Source) -> None:
        """Check a node of a YAML and all nodes below it."""
        if node is None:
            return
        if isinstance(node.value, str):
            self.text(node.value, key, replace(source, name=source.at(node.start_mark.line), is_file=False))
            return
        if len(key) > MAX_DEPTH:
            raise InputError(f"{source.name}: nested more than {MAX_DEPTH} levels deep. Flatten it")
        for item in node.value:
            if not isinstance(item, tuple):
                self._node(item, key, source)
                continue
            name = item[0].value if isinstance(item[0].value, str) else ""
            if name == ALLOW and not key:
                raise InputError(
                    f"{source.at(item[0].start_mark.line)}: {ALLOW} is allowed on the command line only. "
                    f"Remove it here, and add --{ALLOW} NAME"
                )
            if name == "config" and not key:
                raise InputError(
                    f"{source.at(item[0].start_mark.line)}: a configuration cannot include another file. Remove config "
                    "here, and give each file with -c FILE"
                )
            inner = key if item[0].tag == MERGE else (*key, *name.split("."))
            if not (self.keys and inner) or inner[0] in self.keys:
                self._node(item[1], inner, source)


def _is_bare_class(text: str, key: Key) -> bool:
    """Return whether a text is the bare name of a class, such as ``EarlyStopping``."""
    if key and key[-1] in _CLASS_PATHS:
        return text.isidentifier()
    slot = slot_at(key)
    is_name = _CLASS_NAME.fullmatch(text) is not None or (key in _WITHOUT_SETTINGS and _is_word(text))
    return slot is not None and is_name


def _is_word(text: str) -> bool:
    return text.isidentifier() and text.lower() not in ("true", "false", "null", "none")


def _slot(key: Key) -> Literal["class", "maybe"] | None:
    """Return whether a dotted name at a key is a class or may be one; None if it is a text."""
    if (key and key[-1] in _CLASS_PATHS) or key in (("model",), ("data",), ("trainer",)):
        return "class"
    if key[:1] not in (("trainer",), ("model",)) or key[-1] in _PATHS:
        return None
    return "class" if key[0] == "trainer" and len(key) == 2 else "maybe"


def _files(text: str, key: Key, source: Source) -> Iterator[Path]:
    """Yield the files that the parser may read for a value, and pipes, for whose writer it would wait."""
    for folder in dict.fromkeys((Path(), source.folder)):
        path = folder / expand_home(text)
        if not _exists(path):
            continue
        # Data modules read large texts and tokenizers, which are not YAML. Predictions may be written to a pipe.
        is_read = key[:1] != ("data",) or len(key) == 1 or path.suffix in _YAML
        if (path.is_file() and is_read) or (path.is_fifo() and key != ("predictions", "path")):
            yield path


def _options(arguments: Sequence[str]) -> Iterator[tuple[Key, str | None, str]]:
    """Yield key, value and flag for each value on the command line; the value is None for a flag without ``=``."""
    key, flag = Key(), ""
    for argument in arguments[1:]:
        match = _FLAG.fullmatch(argument)
        if match:
            key, flag = tuple(match[1].removesuffix(".help").split(".")), f"--{match[1]}"
            yield key, match[2], flag
        elif argument.startswith("-c"):
            key, flag = ("config",), "--config"
            yield key, argument[2:].removeprefix("=") or None, flag
        elif key:
            yield key, argument, flag


def _without_allow(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments without ``--allow_import`` and its values."""
    skipped = False
    for argument in arguments:
        match = _FLAG.fullmatch(argument)
        if match or argument.startswith("-"):
            skipped = match is not None and match[1] == ALLOW
        if not skipped:
            yield argument


def _allowed_names(value: str) -> list[str]:
    """Return the names in a value of ``--allow_import``: NAME, or [NAME, NAME].

    Raises:
        InputError: a name is not that of a package.
    """
    names = [name.strip() for name in value.strip("[]").split(",")]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")) or name.split(".")[0] == "jsonargparse":
            raise InputError(f"--{ALLOW} {value}: not the name of a package. Give a name, as in --{ALLOW} my_package")
    return names


def _is_importable(root: str) -> bool:
    """Return whether a top-level module of this name is installed, without running it."""
    try:
        return importlib.util.find_spec(root) is not None
    except ValueError:  # the module is loaded, but has no spec
        return True


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the text is too long for a file name
        return False
