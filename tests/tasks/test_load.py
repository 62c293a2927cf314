"""The task class of a model folder."""

import json
from pathlib import Path

import pytest

from gpt_lightning.errors import InputError
from gpt_lightning.tasks.load import load_task, read_checkpoint
from gpt_lightning.tokenizers.build import bytes_tokenizer
from tests.models.huggingface.families import PAD, TASKS, random_task, save_task, saved
from tests.models.huggingface.test_strict import change_json

ALL_TASKS = pytest.mark.parametrize("task", TASKS)


def folder_of(folder: Path, task: str) -> Path:
    """A folder in both formats, with a tokenizer."""
    save_task(folder, random_task(task, {"n_head": 2, "n_embd": 16, "vocab_size": 300}), pad_token_id=PAD)
    bytes_tokenizer().save(folder / "tokenizer.json")
    return folder


@ALL_TASKS
def test_a_folder_of_hugging_face_is_the_task_with_its_head(tmp_path: Path, task: str) -> None:
    saved(tmp_path, "llama", task, vocab_size=300)
    bytes_tokenizer().save(tmp_path / "tokenizer.json")
    loaded, _ = load_task(tmp_path)
    assert type(loaded) is TASKS[task]


@ALL_TASKS
def test_a_folder_of_ours_names_its_task(tmp_path: Path, task: str) -> None:
    assert type(load_task(folder_of(tmp_path, task))[0]) is TASKS[task]
    said = json.loads((tmp_path / "gpt_lightning.json").read_text())["hparams"]["task"]
    assert said.rpartition(".")[2] == task


def test_a_backbone_alone_is_no_task(tmp_path: Path) -> None:
    saved(tmp_path, "llama", vocab_size=300).base_model.save_pretrained(tmp_path / "bare")
    bytes_tokenizer().save(tmp_path / "bare" / "tokenizer.json")
    assert "task" not in read_checkpoint(tmp_path / "bare")["hyper_parameters"]
    with pytest.raises(InputError, match=r"holds a backbone without a head; start from it with --model\.init_from"):
        load_task(tmp_path / "bare")


def test_both_configurations_must_name_the_same_head(tmp_path: Path) -> None:
    folder_of(tmp_path, "TokenClassification")
    for architecture in ("GPT2Model", "GPT2ForQuestionAnswering"):
        change_json(tmp_path / "config.json", architectures=[architecture], problem_type=None)
        with pytest.raises(InputError, match=rf"config\.json names a {architecture}, gpt_lightning\.json a .*delete"):
            read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["os.system", "Task", "", "__name__"])
def test_a_folder_of_a_task_that_is_unknown_is_refused(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path, "CausalLM")
    hparams = json.loads((tmp_path / "gpt_lightning.json").read_text())["hparams"]
    change_json(tmp_path / "gpt_lightning.json", hparams=hparams | {"task": name})
    with pytest.raises(InputError, match="holds no task that this version of gpt-lightning knows"):
        load_task(tmp_path)
