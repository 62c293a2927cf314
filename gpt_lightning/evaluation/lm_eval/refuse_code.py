"""Refusal of code in the task files of lm-evaluation-harness.

lm-evaluation-harness runs functions that a YAML names with ``!function``, classes, metrics that it does not know (it
asks the ``evaluate`` library for a script), prompts from other packages, and whatever a Jinja template can reach.
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

READERS: Final = ("json", "csv", "parquet", "text", "arrow")
"""What reads local files without running what is in them; ``pandas`` unpickles."""
_PLAIN: Final = "tag:yaml.org,2002:"


def refuse_code(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse a task file that brings code along.

    Args:
        file: the YAML.
        config: all that it and the files that it includes say.

    Raises:
        InputError: it does, or cannot be read.
    """
    reasons = [*_tags(file, set()), *_keys(config)]
    if reasons:
        raise InputError(f"{file}: {reasons[0]}, which runs code; add --allow_code if you trust it")


def _tags(file: Path, seen: set[Path]) -> Iterator[str]:
    """What in a file, and in those that it includes, is more than plain values."""
    if file in seen:
        return
    seen.add(file)
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: cannot be read as YAML ({str(error).splitlines()[0]})") from None
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
                        yield from _tags((file.parent / str(each.value)).resolve(), seen)
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def _keys(config: Any) -> Iterator[str]:
    """What in the values means code."""
    if isinstance(config, Mapping):
        for name in ("class", "use_prompt"):
            if name in config:
                yield f"{name}: {config[name]}"
        metric, path = config.get("metric"), config.get("dataset_path")
        if "metric" in config and (config.get("hf_evaluate") or metric not in metric_registry):
            # Groups name metrics as lists of those of their tasks' that are averaged.
            yield f"metric: {metric}"
        if path is not None and path not in READERS and "/" not in str(path):
            yield f"dataset_path: {path}"
        for value in config.values():
            yield from _keys(value)
    elif isinstance(config, list):
        for value in config:
            yield from _keys(value)


def is_local(config: Any) -> bool:
    """Whether all data that ``config`` names are files of this machine."""
    if isinstance(config, Mapping):
        path = config.get("dataset_path")
        return (path is None or path in READERS) and all(map(is_local, config.values()))
    if isinstance(config, list):
        return all(map(is_local, config))
    return "://" not in str(config)


@contextlib.contextmanager
def sandboxed_templates() -> Iterator[None]:
    """Let the templates of tasks reach the values of a row, and nothing behind them."""
    before = utils.env
    inside = SandboxedEnvironment(
        loader=before.loader, undefined=before.undefined, keep_trailing_newline=before.keep_trailing_newline
    )
    inside.filters.update(before.filters)
    utils.env = inside
    try:
        yield
    finally:
        utils.env = before
