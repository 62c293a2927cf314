"""Running of lm-evaluation-harness tasks on a model, and suppression of its messages."""

import contextlib
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import jinja2
import yaml
from datasets.exceptions import DatasetsError
from lm_eval.api.model import LM
from lm_eval.api.samplers import ContextSampler
from lm_eval.evaluator import evaluate

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.load_tasks import template_environment
from gpt_lightning.sandbox.time_limit import LimitError, time_limit

_FEWSHOT_SEED: Final = 1234
"""Seed of the few-shot examples, the default of the harness."""
_SECONDS: Final = 10.0
_SECONDS_PER_ROW: Final = 0.01
"""Time limit of the filters of a task, per row; published filters take a thousandth of it."""

_TASK_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
    re.error,
    jinja2.TemplateError,
    yaml.YAMLError,
    DatasetsError,
    LimitError,
)
"""Exceptions that the harness raises during an evaluation if a task file does not fit its data."""


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
    """Return the results of the harness's ``evaluate``; empty on all processes but the first.

    Args:
        lm: model for the harness.
        loaded: tasks from ``load_tasks``, which can be reused.
        limit: number of rows to evaluate per task; None evaluates all.
        bootstrap_iters: number of bootstrap samples for the standard errors of metrics without a formula; 0 disables
            all standard errors.
        apply_chat_template: if True, format requests with the chat template.
        allow_code: if True, templates may run code.
        log_samples: if True, the results contain each request with its response.

    Raises:
        InputError: a task does not fit its data or the model.
    """
    # Keep the harness from forking, which is not safe in a process with threads.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(seed=_FEWSHOT_SEED)
    limits = contextlib.nullcontext() if allow_code else _limit_tasks(loaded["tasks"].values())
    with template_environment(allow_code), limits:
        try:
            for task in loaded["tasks"].values():
                _check_fewshot(task)
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
        except _TASK_ERRORS as error:
            names = ", ".join(loaded["tasks"])
            reason = str(error).strip() or type(error).__name__
            raise InputError(f"tasks {names[:200]}: {reason}. Check the task files and their data") from error
    return dict(measured or {})


def _check_fewshot(task: Any) -> None:
    """Check that a task has as many rows for few-shot examples as it needs.

    Raises:
        InputError: it has fewer.
    """
    sampler: Any = getattr(task, "sampler", None)
    if type(sampler) is not ContextSampler or not (wanted := task.get_config("num_fewshot")):
        return
    # The harness draws one more from rows that may include the question, as a question is no example of itself.
    available = len(sampler.fewshot_docs()) - (task.fewshot_cfg.split == task.get_config("test_split"))
    if wanted > available:
        raise InputError(
            f"task {task.task_name}: num_fewshot={wanted} is more than the {available:,} rows that it has for "
            "examples. Lower it"
        )


@contextlib.contextmanager
def _limit_tasks(tasks: Iterable[Any]) -> Iterator[None]:
    """Limit the time of the tasks' filters and metrics, whose regular expressions may take exponential time."""
    tasks = list(tasks)
    for task in tasks:
        name, seconds = task.task_name, _SECONDS + _SECONDS_PER_ROW * len(task.eval_docs)
        task.apply_filters = _limit(task.apply_filters, seconds, f"the filters of {name}")
        task.process_results = _limit(task.process_results, _SECONDS, f"the metrics of {name}")
    try:
        yield
    finally:
        for task in tasks:
            del task.apply_filters, task.process_results  # the methods of the class are found again


def _limit(function: Callable[..., Any], seconds: float, what: str) -> Callable[..., Any]:
    def limit_call(*arguments: Any, **named: Any) -> Any:
        with time_limit(seconds, what):
            return function(*arguments, **named)

    return limit_call


def scores(measured: Mapping[str, Any], loaded: Mapping[str, Any]) -> dict[str, float]:
    """Return ``TASK/METRIC`` -> value; tasks in a group that has scores of its own are left out.

    Args:
        measured: results from ``run_tasks``.
        loaded: tasks from ``load_tasks``.
    """
    results: Mapping[str, Mapping[str, Any]] = {**measured.get("groups", {}), **measured.get("results", {})}
    numbers = {name: dict(_numbers(values)) for name, values in results.items()}
    members = loaded.get("group_map", {})
    pending = [name for group, names in members.items() if numbers.get(group) for name in names]
    covered = set()
    while pending:
        name = pending.pop()
        covered.add(name)
        pending += members.get(name, ())
    return {f"{name}/{key}": value for name in numbers if name not in covered for key, value in numbers[name].items()}


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the name and value of each metric, which the harness calls ``NAME,FILTER`` (``none`` without a filter)."""
    for key, value in values.items():
        metric, comma, filtered = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
            yield metric if filtered == "none" else f"{metric}_{filtered}", float(value)


@contextlib.contextmanager
def quiet(bars: bool) -> Iterator[None]:
    """Suppress the warnings and messages of the harness and its libraries.

    Args:
        bars: if True, show their progress bars on standard error.
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
