"""Limits of tasks while they are evaluated."""

import re
from typing import Any

import pytest

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval import run
from tests.reliability.conftest import tally

pytestmark = pytest.mark.filterwarnings("ignore")  # from libraries that the harness imports


class EndlessFilter:
    """Task whose filter is a regular expression that backtracks forever."""

    task_name = "endless"
    eval_docs = (1, 2)

    def set_fewshot_seed(self, seed: int) -> None:
        pass

    def apply_filters(self) -> None:
        re.search("(a+)+b", "a" * 60)

    def process_results(self) -> None:
        pass


def test_filters_have_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test R19."""
    task = EndlessFilter()

    def evaluate(*_: Any, **__: Any) -> None:
        task.process_results()
        task.apply_filters()

    monkeypatch.setattr(run, "evaluate", evaluate)
    monkeypatch.setattr(run, "_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"tasks endless: the filters of endless take longer than 0 seconds"):
        run.run_tasks(None, {"tasks": {"endless": task}})
    tally("R19", vars(task) == {})
