"""Loading of lm-evaluation-harness tasks and their data."""

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import jinja2
import yaml
from datasets.exceptions import DatasetsError
from lm_eval.tasks import TaskManager

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.refuse_code import is_local, refuse_code, sandboxed_templates

TASK_ERRORS = (OSError, ValueError, LookupError, TypeError, SyntaxError, jinja2.TemplateError, DatasetsError)
"""What the harness raises where a task file and its data do not go together."""


def load_tasks(
    names: Sequence[str], include_path: str | None, *, num_fewshot: int | None = None, allow_code: bool = False
) -> dict[str, Any]:
    """The tasks that ``names`` mean, their data loaded: what the harness calls a TaskDict.

    Nothing is fetched where all data are files.

    Args:
        names: tasks, groups or tags, also with ``*``.
        include_path: a folder of task YAMLs, which win over the harness's own of the same name.
        num_fewshot: examples before each question, where a task leaves that open.
        allow_code: whether tasks of ``include_path`` may bring code along.

    Raises:
        InputError: an unknown name, code that was not allowed, or data that cannot be had.
    """
    if include_path is not None and not Path(include_path).is_dir():
        raise InputError(f"--include_path {include_path} is no folder; give one that holds task YAMLs")
    manager, found = _found(names, include_path)
    known = [manager.task_index[name] for name in _names(found, manager.task_index) if name in manager.task_index]
    entries = [entry for entry in known if entry.yaml_path is not None]  # but for tags
    given = [each for each in entries if include_path is not None and each.yaml_path.is_relative_to(include_path)]
    if not allow_code:
        for entry in given:
            refuse_code(entry.yaml_path, entry.cfg)
    fetches = len(given) < len(entries) or not all(is_local(entry.cfg) for entry in given)
    with contextlib.nullcontext() if fetches else offline(), templates(allow_code):
        try:
            loaded: dict[str, Any] = manager.load(found)
        except (*TASK_ERRORS, yaml.YAMLError) as error:
            raise InputError(
                f"tasks {', '.join(names)}: cannot be loaded ({_first_line(error)}); "
                + ("check the network, or give task files and data of your own with --include_path" if fetches else "")
            ) from error
    for task in loaded["tasks"].values():
        fixed = task.get_config("num_fewshot")
        if fixed is None or (num_fewshot is not None and fixed != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
    return loaded


def templates(allow_code: bool) -> contextlib.AbstractContextManager[None]:
    """What the templates of tasks may reach."""
    return contextlib.nullcontext() if allow_code else sandboxed_templates()


def _found(names: Sequence[str], include_path: str | None) -> tuple[Any, list[str]]:
    """An index of tasks, and what in it ``names`` mean.

    The harness's own tasks are thousands of files: they are looked through only where the folder is not enough.
    """
    if include_path is not None:
        manager = TaskManager(include_path=include_path, include_defaults=False)
        found = {name: manager.match_tasks([name]) for name in names}
        everything = [each for matching in found.values() for each in matching]
        if all(found.values()) and all(name in manager.task_index for name in _names(everything, manager.task_index)):
            return manager, list(dict.fromkeys(everything))
    manager = TaskManager(include_path=include_path)
    found = {name: manager.match_tasks([name]) for name in names}
    for name in names:
        if not found[name]:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "is it in a folder for --include_path?"
            raise InputError(f"no task {name!r}; {hint}")
    return manager, list(dict.fromkeys(each for matching in found.values() for each in matching))


def _names(names: Sequence[str], index: Mapping[str, Any]) -> Iterator[str]:
    """These and all that they stand for, also what the index does not have."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            yield name
            if name in index:
                entry = index[name]
                waiting += sorted(entry.tags) if entry.cfg is None else _members(entry.cfg, index)


def _members(config: Any, index: Mapping[str, Any]) -> Iterator[str]:
    """What a task or a group names, also in groups that are written inside it."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, list):
        for each in config:
            yield from _members(each, index)
    elif isinstance(config, Mapping):
        yield from _members(config.get("task"), index)
        if config.get("group") in index or "task" not in config:  # a new one is written here, and in no file
            yield from _members(config.get("group"), index)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Let no library ask the hub, be it only to count what is loaded."""
    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


def _first_line(error: BaseException) -> str:
    """What went wrong at first: libraries wrap it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
