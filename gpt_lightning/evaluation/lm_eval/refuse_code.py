"""Refusal of code in the task files of lm-evaluation-harness.

lm-evaluation-harness runs functions that a YAML names with ``!function``, classes, prompts from other packages, and
anything that a Jinja template can reach. For unknown metrics it runs scripts of the ``evaluate`` library.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import lm_eval.api.metrics  # noqa: F401 (fills the registry)
import yaml
from lm_eval import utils
from lm_eval.api.registry import metric_registry

from gpt_lightning.bounded_files import MAX_DEPTH, read_text, yaml_depths
from gpt_lightning.errors import InputError
from gpt_lightning.sandbox.templates import RenderError, render

SAFE_LOADERS: Final = ("json", "csv", "parquet", "text", "arrow")
"""Dataset loaders that read local files without running code; ``pandas`` would unpickle objects."""
_MAX_BYTES: Final = 2**20
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN: Final = "tag:yaml.org,2002:"


def refuse_code(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse a task file that contains or references code.

    Args:
        file: YAML file of the task.
        config: content of the file and of all files that it includes.

    Raises:
        InputError: the file contains or references code, or cannot be read.
    """
    reasons = [*_find_code_tags(file, set()), *_find_code_keys(config)]
    if reasons:
        raise InputError(f"{file}: {reasons[0]}, which runs code. If you trust it, add --allow_code")


def check_files(folder: Path) -> None:
    """Check the task files in a folder, and the files that they include, before the harness reads them without limits.

    Raises:
        InputError: a file is larger than any task, or not a regular file.
    """
    seen: set[Path] = set()
    for path in sorted(folder.glob("**/*.yaml")):
        for _ in _find_code_tags(path, seen, is_strict=False):
            pass


def _find_code_tags(file: Path, seen: set[Path], *, is_strict: bool = True) -> Iterator[str]:
    """Yield the YAML tags, in a file and the files it includes, that are not plain values.

    Links are followed before the names of included files are resolved, as the harness does.

    Args:
        file: YAML file.
        seen: files that have been read, which are skipped.
        is_strict: if True, raise an error for missing files, and for files that are not YAML.
    """
    file = file.expanduser().resolve()
    if file in seen or (not is_strict and not file.exists()):
        return
    seen.add(file)
    text = read_text(file, "Correct the task file", _MAX_BYTES)
    try:
        is_too_deep = any(depth > MAX_DEPTH for _, depth in yaml_depths(text))
        root = None if is_too_deep else yaml.compose(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if not is_strict:
            return
        raise InputError(f"{file}: cannot be read as YAML ({str(error).splitlines()[0]}). Correct the file") from None
    level = {} if root is None else {id(root): root}
    for _ in range(MAX_DEPTH):
        for node in level.values():
            if not node.tag.startswith(_PLAIN):
                yield f"{node.tag} {node.value if isinstance(node, yaml.ScalarNode) else ''}".strip()
            for each in _included_files(node):
                yield from _find_code_tags(file.parent / each, seen, is_strict=is_strict)
        level = {id(child): child for node in level.values() for child in _children(node)}
    if is_too_deep or level:
        raise InputError(
            f"{file}: nested more than {MAX_DEPTH} levels deep, or an alias contains itself. Correct the file"
        )


def _included_files(node: yaml.Node) -> list[str]:
    """Return the files that a mapping of a task file includes."""
    if not isinstance(node, yaml.MappingNode):
        return []
    values = [value for key, value in node.value if key.value == "include"]
    return [str(each.value) for value in values for each in (value.value if _is_list(value) else [value])]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if _is_list(node) else []


def _is_list(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode)


def _find_code_keys(config: Any) -> Iterator[str]:
    """Yield the keys, in a task or group configuration, whose values make the harness run code."""
    if isinstance(config, Mapping):
        for name in ("class", "use_prompt"):
            if name in config:
                yield f"{name}: {config[name]}"
        metric, path = config.get("metric"), config.get("dataset_path")
        # In groups, a metric may also be a list: the metrics of its tasks to average.
        metrics = metric if isinstance(metric, list) else [metric]
        is_known = all(isinstance(each, str) and each in metric_registry for each in metrics)
        if "metric" in config and (config.get("hf_evaluate") or not is_known):
            yield f"metric: {metric}"
        if path is not None and path not in SAFE_LOADERS and "/" not in str(path):
            yield f"dataset_path: {path}"
        for value in config.values():
            yield from _find_code_keys(value)
    elif isinstance(config, list):
        for value in config:
            yield from _find_code_keys(value)


def is_local(config: Any) -> bool:
    """Return True if all data that ``config`` names are local files."""
    if isinstance(config, Mapping):
        path = config.get("dataset_path")
        return (path is None or path in SAFE_LOADERS) and all(map(is_local, config.values()))
    if isinstance(config, list):
        return all(map(is_local, config))
    return "://" not in str(config)


class _Environment:
    """Environment of the harness whose templates are rendered in a sandbox, where they see only the values of a row."""

    def from_string(self, text: str) -> "_Template":
        return _Template(text)


class _Template:
    def __init__(self, text: str) -> None:
        self._text = text

    def render(self, **row: Any) -> str:
        try:
            return render("task", self._text, row)
        except RenderError as error:
            raise jinja2.TemplateError(str(error)) from None


@contextlib.contextmanager
def sandboxed_templates() -> Iterator[None]:
    """Render the templates of tasks in a sandbox, with limits of time, memory and size."""
    original = utils.env
    utils.env = _Environment()
    try:
        yield
    finally:
        utils.env = original
