"""Loading of tasks from model folders, and the import of their classes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning import tasks
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.load import load_task, read_checkpoint
from gpt_lightning.tokenizers.build import bytes_tokenizer
from tests.models.huggingface.families import PAD, TASKS, random_task, save_reference, save_task
from tests.models.huggingface.test_strict import change_json

ALL_TASKS = pytest.mark.parametrize("task", TASKS)


def folder_of(folder: Path, task: str, **arguments: Any) -> Path:
    """Write a model folder with a tokenizer, in Hugging Face's format too if it has a corresponding model."""
    shape = {"n_head": 2, "n_embd": 16, "vocab_size": 300}
    save_task(folder, random_task(task, shape, **arguments), pad_token_id=PAD)
    bytes_tokenizer().save(folder / "tokenizer.json")
    return folder


@ALL_TASKS
def test_hugging_face_folder_loads_as_the_task_with_its_head(tmp_path: Path, task: str) -> None:
    save_reference(tmp_path, "llama", task, vocab_size=300)
    bytes_tokenizer().save(tmp_path / "tokenizer.json")
    loaded, _ = load_task(tmp_path)
    assert type(loaded) is TASKS[task]


@ALL_TASKS
def test_model_folder_names_its_task(tmp_path: Path, task: str) -> None:
    assert type(load_task(folder_of(tmp_path, task))[0]) is TASKS[task]
    name = json.loads((tmp_path / "gpt_lightning.json").read_text())["hparams"]["task"]
    assert name.rpartition(".")[2] == task


def test_backbone_without_a_head_has_no_task(tmp_path: Path) -> None:
    save_reference(tmp_path, "llama", vocab_size=300).base_model.save_pretrained(tmp_path / "bare")
    bytes_tokenizer().save(tmp_path / "bare" / "tokenizer.json")
    assert "task" not in read_checkpoint(tmp_path / "bare")["hyper_parameters"]
    with pytest.raises(InputError, match=r"holds a backbone without a head. Fine-tune it with --model\.init_from"):
        load_task(tmp_path / "bare")


def test_bare_backbone_is_not_taken_for_a_task_without_hugging_face_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(CausalLM):
        """Task without a Hugging Face head, first in ``CONCRETE``."""

    monkeypatch.setattr(tasks, "CONCRETE", (Own, *tasks.CONCRETE))
    save_reference(tmp_path, "llama", vocab_size=300).base_model.save_pretrained(tmp_path / "bare")
    bytes_tokenizer().save(tmp_path / "bare" / "tokenizer.json")
    assert "task" not in read_checkpoint(tmp_path / "bare")["hyper_parameters"]


def test_conflicting_heads_in_both_configurations_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, "TokenClassification")
    for architecture in ("GPT2Model", "GPT2ForQuestionAnswering"):
        change_json(tmp_path / "config.json", architectures=[architecture], problem_type=None)
        with pytest.raises(InputError, match=rf"config\.json names a {architecture}, but gpt_lightning\.json .*delete"):
            read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os.system", "the task is os.system, which is not part of gpt-lightning"),
        ("Task", "this version of gpt-lightning has no task 'Task'"),
        ("gpt_lightning.tasks.CausalLMs", "this version of gpt-lightning has no task 'CausalLMs'"),
        ("", "this version of gpt-lightning has no task ''"),
        ("__name__", "this version of gpt-lightning has no task '__name__'"),
    ],
)
def test_unknown_task_is_refused(tmp_path: Path, name: str, message: str) -> None:
    rename_task(folder_of(tmp_path, "CausalLM"), name)
    with pytest.raises(InputError, match=message):
        load_task(tmp_path)


@pytest.mark.parametrize("name", ["CausalLM", "gpt_lightning.tasks.CausalLM", "gpt_lightning.tasks.causal_lm.CausalLM"])
def test_older_names_of_tasks_are_accepted(tmp_path: Path, name: str) -> None:
    """Accept the bare name that version 0.1 wrote, and longer paths."""
    rename_task(folder_of(tmp_path, "CausalLM"), name)
    assert type(load_task(tmp_path)[0]) is CausalLM


def rename_task(folder: Path, name: str) -> None:
    """Replace the name of the task class in a model folder."""
    hparams = json.loads((folder / "gpt_lightning.json").read_text())["hparams"]
    change_json(folder / "gpt_lightning.json", hparams=hparams | {"task": name})


OWN = """
from gpt_lightning.tasks import SequenceClassification

class Mine(SequenceClassification):
    pass

other = print
"""


def test_user_defined_task_is_imported_only_if_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_heads.py").write_text(OWN)
    folder = folder_of(tmp_path / "model", "SequenceClassification", pooling="mean")
    rename_task(folder, "own_heads.Mine")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"model: the task is own_heads\.Mine, .* add --allow_import own_heads"):
        load_task(folder)
    assert "own_heads" not in sys.modules
    with pytest.raises(InputError, match=r"own_heads\.Mine, .* add --allow_import own_heads"):
        load_task(folder, allow_import=["own", "own_heads.Other"])
    loaded, _ = load_task(folder, allow_import=["own_heads"])
    assert type(loaded).__name__ == "Mine"
    assert type(load_task(folder)[0]) is type(loaded)  # a class that is already imported needs no permission
    rename_task(folder, "own_heads.other")
    with pytest.raises(InputError, match=r"own_heads\.other is not a task: .* subclass of gpt_lightning\.Task"):
        load_task(folder, allow_import=["own_heads"])
    rename_task(folder, "own_tails.Mine")
    with pytest.raises(InputError, match=r"own_tails\.Mine, cannot be imported: .*Install own_tails"):
        load_task(folder, allow_import=["own_tails"])
