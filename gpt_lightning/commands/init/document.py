"""The YAML document that ``init`` prints."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpt_lightning.commands.init.choice import comment, render
from gpt_lightning.data.base import DataModule
from gpt_lightning.tasks import Task


class Draft(NamedTuple):
    """A configuration without its comment and its sources."""

    task: type[Task]
    module: type[DataModule]
    summary: str
    trainer: Mapping[str, Any]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    others: Mapping[str, Any]
    """Further sections, such as ``checkpoints``."""


def write(
    draft: Draft, task_name: str, train: Sequence[str], validation: str | None, reading: Mapping[str, str]
) -> str:
    """Return the document for some training sources.

    Args:
        draft: the configuration.
        task_name: name of the task in the command.
        train: training sources.
        validation: validation source, if the user gives one.
        reading: options for text files that the user gives.
    """
    experiment = _experiment(train, task_name)
    source = train[0] if len(train) == 1 else list(train)
    sources = {"train": source} if validation is None else {"train": source, "validation": validation}
    values = {
        "experiment": experiment,
        "trainer": draft.trainer,
        "model": {"class_path": draft.task.__name__, "init_args": draft.model},
        "data": {"class_path": draft.module.__name__, "init_args": {**sources, **reading, **draft.data}},
        **draft.others,
    }
    more = " ..." * (len(train) > 1)
    header = [
        *comment(f"{draft.task.__name__} on {train[0]}{more}: {draft.summary}"),
        "#",
        "#   gpt-lightning fit -c my.yaml",
        f"#   gpt-lightning test -c my.yaml --data.test=FILE --ckpt_path=logs/{experiment}/version_0",
    ]
    return "".join(f"{line}\n" for line in header) + render(values)


def _experiment(train: Sequence[str], task_name: str) -> str:
    """Return a name for the run's folder: that of the file or, for ``train``, of its folder."""
    path = Path(train[0])
    stem = path.name.partition(".")[0]
    name = re.sub(r"[^\w-]+", "_", path.parent.name if stem == "train" else stem).strip("_")
    return f"{name}_{task_name}" if name not in ("", task_name) else task_name
