"""Loggers of a training run, which write to the folder of the run."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any, Final

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.commands.run.classes import class_at
from gpt_lightning.commands.run.parser import defaults_of

_FOLDERS: Final = ("save_dir", "dir", "root_dir", "log_dir")
"""Arguments with which loggers take the folder that they write to."""

Configured = Namespace | list[Namespace] | bool | None
"""Value of ``trainer.logger``."""


def fill_in_folder(logger: Any, log_dir: str) -> None:
    """Set the required folder of Lightning's loggers in place, so that the user need not give it."""
    for each in _each(logger):
        is_lightnings = each.class_path.rpartition(".")[2] in ("CSVLogger", "TensorBoardLogger")
        if is_lightnings and "init_args.save_dir" not in each:
            each["init_args.save_dir"] = log_dir


def loggers_of_run(configured: Configured, run: Path, log_dir: str) -> list[Logger]:
    """Return the loggers of a run, all of which write to its folder. Print settings that are not followed.

    Args:
        configured: value of ``trainer.logger``. None and True stand for TensorBoard.
        run: folder of the run.
        log_dir: folder of all experiments.
    """
    if configured is None or configured is True:
        return [TensorBoardLogger(run.parent.parent, run.parent.name, run.name, default_hp_metric=False)]
    redirected, numbers = [], Counter[str]()
    for each in _each(configured):
        numbers[each.class_path] += 1
        redirected.append(_redirect(each, run, numbers[each.class_path], log_dir))
    loggers = build_loggers(redirected)
    for logger in loggers:
        if isinstance(logger, CSVLogger):
            _keep_metrics(Path(logger.log_dir))
    return loggers


def build_loggers(configured: Configured) -> list[Logger]:
    """Return the configured loggers."""
    parser = ArgumentParser()
    parser.add_argument("--logger", type=list[Logger])
    config = Namespace(logger=_each(configured))  # type: ignore[no-untyped-call]
    loggers: list[Logger] = parser.instantiate_classes(config).logger
    return loggers


@rank_zero_only
def _keep_metrics(folder: Path) -> None:
    """Rename the ``metrics.csv`` of a run that is resumed, because ``CSVLogger`` would delete it."""
    file = folder / "metrics.csv"
    if file.exists():
        names = (folder / f"metrics-{number}.csv" for number in itertools.count(1))
        file.rename(next(name for name in names if not name.exists()))


def _redirect(logger: Namespace, run: Path, number: int, log_dir: str) -> Namespace:
    """Return the configuration of a logger with the folder of the run.

    Args:
        logger: configuration.
        run: folder of the run.
        number: number of the logger among those of its class, from 1. All but the first have a folder of their own.
        log_dir: folder of all experiments, which ``fill_in_folder`` gives to loggers.
    """
    cls = class_at(logger.class_path)
    defaults = vars(defaults_of(cls))
    folder = run if number == 1 else run / f"{cls.__name__}_{number}"
    wanted: dict[str, Any] = {name: str(folder) for name in _FOLDERS if name in defaults}
    if issubclass(cls, TensorBoardLogger | CSVLogger):
        wanted = {"save_dir": str(folder.parent.parent), "name": folder.parent.name, "version": folder.name}
        wanted |= {"sub_dir": None} if "sub_dir" in defaults else {}
    redirected: Namespace = logger.clone()
    ignored = []
    for name, value in wanted.items():
        given = redirected.get(f"init_args.{name}")
        if given not in (None, value, log_dir, defaults.get(name)):
            ignored.append(f"{name}={given}")
        redirected[f"init_args.{name}"] = value
    if ignored and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        print(
            f"{cls.__name__}: ignored {', '.join(ignored)}. The run writes to {run}; choose its folder with --log_dir, "
            "--experiment and --name",
            flush=True,
        )
    return redirected


def _each(logger: Any) -> list[Namespace]:
    """Return the configuration of each logger."""
    found = logger if isinstance(logger, list | tuple) else [logger]
    return [each for each in found if isinstance(each, Namespace) and "class_path" in each]
