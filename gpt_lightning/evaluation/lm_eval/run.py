"""Running lm-evaluation-harness on a model, with its output silenced."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.load_tasks import TASK_ERRORS, templates

_FEWSHOT_SEED: Final = 1234
"""The harness's own, of the examples before a question."""


def run_tasks(
    lm: LM,
    loaded: Mapping[str, Any],
    *,
    limit: int | None = None,
    bootstrap_iters: int = 0,
    apply_chat_template: bool = False,
    allow_code: bool = False,
    log_samples: bool = False,
) -> dict[str, Any]:
    """What the harness's ``evaluate`` measures; on all but the first of several processes nothing.

    Args:
        lm: a model as the harness sees models.
        loaded: what ``load_tasks`` gave; it may be given again.
        limit: the first rows of each task only.
        bootstrap_iters: how often rows are drawn anew for the standard error of a metric that has no formula for it;
            0 computes no standard errors at all.
        apply_chat_template: ask in the form of a chat.
        allow_code: let templates reach all of Python.
        log_samples: keep each request and its answer.

    Raises:
        InputError: a task does not fit its data or the model.
    """
    # Without it the harness forks, which a process with threads had better not do.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(seed=_FEWSHOT_SEED)
    with templates(allow_code):
        try:
            measured: dict[str, Any] | None = evaluate(
                lm,
                loaded,
                limit=limit,
                bootstrap_iters=bootstrap_iters,
                apply_chat_template=apply_chat_template,
                fewshot_as_multiturn=apply_chat_template,
                log_samples=log_samples,
            )
        except InputError:
            raise
        except TASK_ERRORS as error:
            names = ", ".join(loaded["tasks"])
            raise InputError(f"tasks {names[:200]}: {str(error).strip() or type(error).__name__}") from error
    return dict(measured or {})


def scores(measured: Mapping[str, Any], loaded: Mapping[str, Any]) -> dict[str, float]:
    """``TASK/METRIC`` -> value: of a group with scores of its own without those of its members.

    Args:
        measured: what ``run_tasks`` gave.
        loaded: the tasks.
    """
    results: Mapping[str, Mapping[str, Any]] = {**measured.get("groups", {}), **measured.get("results", {})}
    numbers = {name: dict(_numbers(values)) for name, values in results.items()}
    members = loaded.get("group_map", {})
    waiting = [name for group, names in members.items() if numbers.get(group) for name in names]
    covered = set()
    while waiting:
        name = waiting.pop()
        covered.add(name)
        waiting += members.get(name, ())
    return {f"{name}/{key}": value for name in numbers if name not in covered for key, value in numbers[name].items()}


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Metrics are called ``name,filter``, with "none" for the text as it is; beside them stands what made them."""
    for key, value in values.items():
        metric, comma, filtered = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
            yield metric if filtered == "none" else f"{metric}_{filtered}", float(value)


@contextlib.contextmanager
def quiet(bars: bool) -> Iterator[None]:
    """Keep the advice of the harness and its libraries off the screen.

    Args:
        bars: show how far it is, on standard error.
    """
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "evaluate", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            with contextlib.nullcontext() if bars else contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
