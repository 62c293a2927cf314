"""Refusal of code in the task files of lm-evaluation-harness.

lm-evaluation-harness runs functions that a YAML names with ``!function``, classes, prompts from other packages, and
anything that a Jinja template can reach. For unknown metrics it runs scripts of the ``evaluate`` library.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import lm_eval.api.metrics  # noqa: F401 (fills the registry)
import yaml
from jinja2.sandbox import SandboxedEnvironment
from lm_eval import utils
from lm_eval.api.registry import metric_registry

from gpt_lightning.errors import InputError

SAFE_LOADERS: Final = ("json", "csv", "parquet", "text", "arrow")
"""Dataset loaders that read local files without running code; ``pandas`` would unpickle objects."""
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


def _find_code_tags(file: Path, seen: set[Path]) -> Iterator[str]:
    """Yield the YAML tags, in a file and the files it includes, that are not plain values."""
    if file in seen:
        return
    seen.add(file)
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: cannot be read as YAML ({str(error).splitlines()[0]}). Correct the file") from None
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node is not None and not node.tag.startswith(_PLAIN):
            yield f"{node.tag} {node.value if isinstance(node, yaml.ScalarNode) else ''}".strip()
        if isinstance(node, yaml.MappingNode):
            nodes += [part for pair in node.value for part in pair]
            for key, value in node.value:
                if key.value == "include":
                    included = value.value if isinstance(value, yaml.SequenceNode) else [value]
                    for each in included:
                        yield from _find_code_tags((file.parent / str(each.value)).resolve(), seen)
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def _find_code_keys(config: Any) -> Iterator[str]:
    """Yield the keys, in a task or group configuration, whose values make the harness run code."""
    if isinstance(config, Mapping):
        for name in ("class", "use_prompt"):
            if name in config:
                yield f"{name}: {config[name]}"
        metric, path = config.get("metric"), config.get("dataset_path")
        if "metric" in config and (config.get("hf_evaluate") or metric not in metric_registry):
            # In groups, a metric may also be a list: the metrics of its tasks to average.
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


@contextlib.contextmanager
def sandboxed_templates() -> Iterator[None]:
    """Render the templates of tasks in a sandbox, in which they can access only the values of a row."""
    original = utils.env
    sandbox = SandboxedEnvironment(
        loader=original.loader, undefined=original.undefined, keep_trailing_newline=original.keep_trailing_newline
    )
    sandbox.filters.update(original.filters)
    utils.env = sandbox
    try:
        yield
    finally:
        utils.env = original
