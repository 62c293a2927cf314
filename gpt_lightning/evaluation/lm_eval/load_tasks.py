"""Loading of lm-evaluation-harness tasks and their datasets."""

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from gpt_lightning.downloads import offline
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.refuse_code import check_files, is_local, refuse_code, sandboxed_templates


def load_tasks(
    names: Sequence[str], include_path: str | None, *, num_fewshot: int | None = None, allow_code: bool = False
) -> dict[str, Any]:
    """Load tasks with their data, as a ``TaskDict`` of the harness.

    The network is not used if all data are local files.

    Args:
        names: tasks, groups or tags; patterns with ``*`` are allowed.
        include_path: folder of task YAMLs, which take precedence over the harness's own tasks of the same name.
        num_fewshot: number of few-shot examples, for tasks that do not set it.
        allow_code: if True, tasks of ``include_path`` may contain code.

    Raises:
        InputError: a name is unknown, a task contains code without permission, or its data cannot be loaded.
    """
    if include_path is not None and not Path(include_path).is_dir():
        raise InputError(f"--include_path={include_path} is not a folder. Give a folder of task YAMLs")
    if include_path is not None:
        check_files(Path(include_path))
    try:
        manager, found = _find_tasks(names, include_path)
    except InputError:
        raise
    except Exception as error:  # the name of a task is not a string, for example
        raise InputError(
            f"--include_path={include_path}: its task files cannot be listed ({_root_cause(error)}). Correct them"
        ) from error
    index = manager.task_index
    indexed = [index[name] for name in _expand_names(found, index) if name in index]
    entries = [entry for entry in indexed if entry.yaml_path is not None]  # tags have no file
    user_entries = [
        entry for entry in entries if include_path is not None and entry.yaml_path.is_relative_to(include_path)
    ]
    if not allow_code:
        for entry in user_entries:
            refuse_code(entry.yaml_path, entry.cfg)
        _use_checked_content(index, include_path)
    needs_network = len(user_entries) < len(entries) or not all(is_local(entry.cfg) for entry in user_entries)
    with contextlib.nullcontext() if needs_network else offline(), template_environment(allow_code):
        try:
            loaded: dict[str, Any] = manager.load(found)
        except Exception as error:  # only the task files and their data can cause it
            raise InputError(
                f"tasks {', '.join(names)}: cannot be loaded ({_root_cause(error)}). "
                + (
                    "Check the network, or give local task files and data with --include_path"
                    if needs_network
                    else "Check the task file and its data"
                )
            ) from error
    for task in loaded["tasks"].values():
        fixed = task.get_config("num_fewshot")
        if fixed is None or (num_fewshot is not None and fixed != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
    return loaded


def _use_checked_content(index: Mapping[str, Any], include_path: str | None) -> None:
    """Let the harness build the user's tasks from the content in its index, without reading their files again.

    In the index, functions are names. The harness resolves them only when it reads a file again.
    """
    for entry in index.values():
        if entry.yaml_path is not None and include_path is not None and entry.yaml_path.is_relative_to(include_path):
            entry.yaml_path = None


def template_environment(allow_code: bool) -> contextlib.AbstractContextManager[None]:
    """Return the context in which the templates of tasks are rendered, sandboxed unless code is allowed."""
    return contextlib.nullcontext() if allow_code else sandboxed_templates()


def _find_tasks(names: Sequence[str], include_path: str | None) -> tuple[Any, list[str]]:
    """Return a task manager of the harness, and the tasks, groups and tags in it that match ``names``.

    The harness's own tasks, which are thousands of files, are indexed only if ``include_path`` is not sufficient.
    """
    if include_path is not None:
        manager = TaskManager(include_path=include_path, include_defaults=False)
        found = {name: manager.match_tasks([name]) for name in names}
        everything = [each for matching in found.values() for each in matching]
        if all(found.values()) and all(
            name in manager.task_index for name in _expand_names(everything, manager.task_index)
        ):
            return manager, list(dict.fromkeys(everything))
    manager = TaskManager(include_path=include_path)
    found = {name: manager.match_tasks([name]) for name in names}
    for name in names:
        if not found[name]:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "give the folder of its file with --include_path"
            raise InputError(f"unknown task {name!r}; {hint}")
    return manager, list(dict.fromkeys(each for matching in found.values() for each in matching))


def _expand_names(names: Sequence[str], index: Mapping[str, Any]) -> Iterator[str]:
    """Yield names and, recursively, the members of groups and tags, including names that the index does not have."""
    pending, seen = list(names), set()
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            yield name
            if name in index:
                entry = index[name]
                pending += sorted(entry.tags) if entry.cfg is None else _named_tasks(entry.cfg, index)


def _named_tasks(config: Any, index: Mapping[str, Any]) -> Iterator[str]:
    """Yield the task names in a task or group configuration, including those of inline groups."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, list):
        for each in config:
            yield from _named_tasks(each, index)
    elif isinstance(config, Mapping):
        yield from _named_tasks(config.get("task"), index)
        if config.get("group") in index or "task" not in config:  # an inline group has no file of its own
            yield from _named_tasks(config.get("group"), index)


def _root_cause(error: BaseException) -> str:
    """Return the first line of the message of the innermost exception."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
