"""Limits of tasks while they are evaluated."""

import re
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval import run
from gpt_lightning.evaluation.lm_eval.load_tasks import load_tasks
from tests.evaluation.lm_eval.task_files import CHOICE, write_task
from tests.reliability.conftest import tally

pytestmark = pytest.mark.filterwarnings("ignore")  # from libraries that the harness imports


@pytest.mark.parametrize("fewshot_split", ["validation", None])
def test_more_examples_than_the_task_has_rows(tmp_path: Path, fewshot_split: str | None) -> None:
    rows = [{"question": f"{n}?", "right": " yes", "wrong": " no"} for n in range(5)]
    task = CHOICE | ({"fewshot_split": fewshot_split} if fewshot_split else {})
    write_task(tmp_path, task, rows)

    def tiny(num_fewshot: int) -> dict[str, Any]:
        return load_tasks(["tiny_choice"], str(tmp_path), num_fewshot=num_fewshot)

    (harness,) = tiny(0)["tasks"].values()
    available = 5 if fewshot_split else 4
    own = None if fewshot_split else harness.eval_docs[0]
    harness.set_fewshot_seed(seed=0)
    assert len(harness.sampler.sample(available, eval_doc=own)) == available
    with pytest.raises(ValueError, match="larger than population"):
        harness.sampler.sample(available + 1, eval_doc=own)
    with pytest.raises(InputError, match=rf"task tiny_choice: num_fewshot=9 is more than the {available} rows that"):
        run.run_tasks(None, tiny(9))
    for task in tiny(available)["tasks"].values():
        run._check_fewshot(task)


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
