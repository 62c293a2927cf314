"""Selection of lm-evaluation-harness tasks, and refusal of code in task files."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pytest
import yaml

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval import load_tasks as load_tasks_module
from gpt_lightning.evaluation.lm_eval import refuse_code
from gpt_lightning.evaluation.lm_eval.load_tasks import load_tasks
from tests.evaluation.lm_eval.task_files import CHOICE, write_task, write_tasks

pytestmark = pytest.mark.filterwarnings("ignore")  # from libraries that the harness imports

ROWS = [{"question": "a", "right": "b", "wrong": "c"}]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail on any use of the network, even if the caller handles the error."""
    attempts = []

    def refuse(*arguments: Any, **_: Any) -> None:
        attempts.append(arguments)
        raise OSError("there is no network here")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    time.sleep(0.05)  # for requests in threads
    assert not attempts


def names(folder: Path, *given: str, **settings: Any) -> list[str]:
    return list(load_tasks(given, str(folder), **settings)["tasks"])


def test_tasks_are_found_by_name_group_and_pattern(tmp_path: Path) -> None:
    write_tasks(tmp_path)
    assert names(tmp_path, "tiny_choice") == ["tiny_choice"]
    assert names(tmp_path, "tiny") == ["tiny_choice", "tiny_other"]
    assert names(tmp_path, "tiny_[ow]*r*ing", "tiny_t*") == ["tiny_writing", "tiny_texts"]


def test_num_fewshot(tmp_path: Path) -> None:
    """Apply ``num_fewshot`` only to tasks that do not set it."""
    write_tasks(tmp_path)
    loaded = load_tasks(["tiny"], str(tmp_path), num_fewshot=2)["tasks"]
    assert [task.get_config("num_fewshot") for task in loaded.values()] == [2, 0]
    loaded = load_tasks(["tiny"], str(tmp_path))["tasks"]
    assert [task.get_config("num_fewshot") for task in loaded.values()] == [0, 0]


def test_missing_folder_and_missing_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--include_path=.*/none is not a folder\. Give a folder of task YAMLs"):
        names(tmp_path / "none", "tiny")
    write_task(tmp_path, CHOICE | {"dataset_kwargs": {"data_files": {"validation": str(tmp_path / "gone.jsonl")}}})
    with pytest.raises(InputError, match=r"tasks tiny_choice: cannot be loaded \(.*gone\.jsonl"):
        names(tmp_path, "tiny_choice")
    write_task(tmp_path, CHOICE | {"dataset_kwargs": {"data_files": {"validation": []}}})
    with pytest.raises(InputError, match=r"tasks tiny_choice: cannot be loaded \(StopIteration\)"):
        names(tmp_path, "tiny_choice")


def test_template_with_an_unknown_column_is_refused(tmp_path: Path) -> None:
    write_task(tmp_path, CHOICE | {"doc_to_text": "{{questoin}}"}, ROWS)
    with pytest.raises(InputError, match=r"tasks tiny_choice: cannot be loaded \('questoin' is undefined\)"):
        names(tmp_path, "tiny_choice")


CODE = """
from pathlib import Path
Path(__file__).with_name("has_run").touch()
def target(doc): return 0
"""
TAGGED = {
    "function": "doc_to_target: !function code.target\n",
    "class": "class: !function code.target\n",
    "included": "include: _base\n",
    "in a list": "metric_list: [{metric: !function code.target, aggregation: mean}]\n",
}


@pytest.mark.parametrize("line", TAGGED.values(), ids=TAGGED)
def test_functions_run_only_if_allowed(tmp_path: Path, line: str) -> None:
    """Refuse code in tasks that are named directly, by a pattern, or by groups."""
    plain = {key: value for key, value in CHOICE.items() if key not in ("doc_to_target", "metric_list")}
    file = write_task(tmp_path, plain, ROWS)
    write_task(tmp_path, {"group": "all", "task": ["tiny_choice"]})
    write_task(tmp_path, {"group": "inside", "task": [{"group": "inner", "task": [{"task": "tiny_choice"}]}]})
    write_task(tmp_path, {"group": "changed", "task": [{"group": "all", "task": []}]})
    (tmp_path / "_base").write_text("doc_to_target: !function code.target\n")
    with file.open("a") as out:
        out.write(line)
    (tmp_path / "code.py").write_text(CODE)
    for name in ("tiny_choice", "all", "inside", "changed", "tiny*"):
        with pytest.raises(InputError, match=r"!function code\.target, which runs code\. If you trust it, add --allow"):
            names(tmp_path, name)
    assert not (tmp_path / "has_run").exists()
    if line.startswith("doc_to_target"):
        assert names(tmp_path, "all", allow_code=True) == ["tiny_choice"]
        assert (tmp_path / "has_run").exists()


def test_a_link_and_its_target_are_the_same_file(tmp_path: Path) -> None:
    """The harness resolves included files from the folder of a link's target. There, another file has the code."""
    tasks, other = tmp_path / "tasks", tmp_path / "other"
    file = write_task(other, {key: value for key, value in CHOICE.items() if key != "doc_to_target"}, ROWS)
    with file.open("a") as out:
        out.write("include: base.yaml\n")
    tasks.mkdir()
    (tasks / "tiny.yaml").symlink_to(file)
    (tasks / "base.yaml").write_text("doc_to_target: 0\n")
    (other / "base.yaml").write_text("doc_to_target: !function code.target\n")
    (other / "code.py").write_text(CODE)
    with pytest.raises(InputError, match=r"!function code\.target, which runs code"):
        names(tasks, "tiny_choice")
    assert not (other / "has_run").exists()


def test_the_content_that_was_checked_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes after the check is not read again."""
    file = write_task(tmp_path, CHOICE, ROWS)
    (tmp_path / "code.py").write_text(CODE)

    def check_and_change(*arguments: Any) -> None:
        refuse_code.refuse_code(*arguments)
        file.write_text(file.read_text().replace("doc_to_target: 0", "doc_to_target: !function code.target"))

    monkeypatch.setattr(load_tasks_module, "refuse_code", check_and_change)
    assert names(tmp_path, "tiny_choice") == ["tiny_choice"]
    assert "!function" in file.read_text()
    assert not (tmp_path / "has_run").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("special", ["/dev/zero", "pipe"])
def test_files_that_are_not_files_are_refused(tmp_path: Path, special: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    write_task(tmp_path, CHOICE, ROWS)
    write_task(tmp_path, CHOICE | {"task": "other", "include": special})
    with pytest.raises(InputError, match=r"not a regular file\. Correct the task file"):
        names(tmp_path, "tiny_choice")


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "task: &a [*a]"])
def test_files_that_nest_too_deeply_are_refused(tmp_path: Path, text: str) -> None:
    """The harness crashes with them, also if the file is not that of the chosen task."""
    write_task(tmp_path, CHOICE, ROWS)
    (tmp_path / "deep.yaml").write_text(text)
    with pytest.raises(InputError, match=r"deep\.yaml: nested more than 100 levels deep"):
        names(tmp_path, "tiny_choice")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ 1 // 0 }}", "integer division or modulo by zero"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "it nests too deeply"),
        ("{{ 'a' * 10**10 }}", "it takes too much memory"),
        ("{{ question | regex_replace('(', '') }}", "missing \\)"),
    ],
)
def test_templates_that_fail_are_refused(tmp_path: Path, template: str, reason: str) -> None:
    write_task(tmp_path, CHOICE | {"doc_to_text": template}, ROWS)
    with pytest.raises(InputError, match=rf"tasks tiny_choice: cannot be loaded \(.*{reason}"):
        names(tmp_path, "tiny_choice")


def test_code_in_unused_tasks_needs_no_permission(tmp_path: Path) -> None:
    write_tasks(tmp_path)
    (tmp_path / "other.yaml").write_text("task: other\ndoc_to_target: !function code.target\n")
    assert names(tmp_path, "tiny_choice") == ["tiny_choice"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dataset_path": "pandas"}, "dataset_path: pandas"),
        ({"metric_list": [{"metric": "./evil.py"}]}, r"metric: \./evil\.py"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "metric: acc"),
        ({"metric_list": [{"metric": ["acc", "evil"]}]}, r"metric: \['acc', 'evil'\]"),
        ({"metric_list": [{"metric": {"a": 1}}]}, r"metric: \{'a': 1\}"),
        ({"use_prompt": "promptsource:x"}, "use_prompt: promptsource:x"),
    ],
)
def test_other_ways_to_run_code_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    write_task(tmp_path, CHOICE | changed, ROWS)
    with pytest.raises(InputError, match=f"{message}, which runs code"):
        names(tmp_path, "tiny_choice")


def test_code_in_an_inline_task_of_a_group_is_refused(tmp_path: Path) -> None:
    write_task(tmp_path, {"group": "inline", "task": [CHOICE | {"task": "inside", "dataset_path": "pandas"}]})
    with pytest.raises(InputError, match="dataset_path: pandas, which runs code"):
        names(tmp_path, "inline")


def test_templates_can_access_only_the_row(tmp_path: Path) -> None:
    evil = f"{{{{ cycler.__init__.__globals__.os.system('touch {tmp_path}/has_run') }}}}"
    write_task(tmp_path, CHOICE | {"doc_to_text": evil}, ROWS)
    with pytest.raises(InputError, match=r"cannot be loaded \(access to attribute '__init__'"):
        names(tmp_path, "tiny_choice")
    assert not (tmp_path / "has_run").exists()


def test_invalid_yaml_in_unused_files_is_ignored(tmp_path: Path) -> None:
    write_tasks(tmp_path)
    (tmp_path / "broken.yaml").write_text("task: [")
    (tmp_path / "_bad").write_text("a: [")
    write_task(tmp_path, CHOICE | {"task": "includes", "include": "_bad"}, ROWS)
    assert names(tmp_path, "tiny_other") == ["tiny_other"]


def test_benchmark_tasks_match_the_harness(tmp_path: Path) -> None:
    """Compare prompts, targets and metrics of our BLiMP and LAMBADA files with the harness's own files."""
    import json

    import lm_eval.tasks

    from benchmarks import harness_tasks

    harness_tasks_folder = Path(lm_eval.tasks.__file__).parent
    blimp = yaml.safe_load((harness_tasks_folder / "blimp" / "_template_yaml").read_text())
    lambada = yaml.safe_load((harness_tasks_folder / "lambada" / "lambada_openai.yaml").read_text())
    for ours, reference in ((harness_tasks.BLIMP, blimp), (harness_tasks.LAMBADA, lambada)):
        assert ours.items() <= reference.items()
        compared_keys = {
            "output_type",
            "doc_to_text",
            "doc_to_target",
            "doc_to_choice",
            "metric_list",
            "num_fewshot",
            "metadata",
        }
        assert reference.keys() & compared_keys == ours.keys()
    pairs = [
        {"uid": "adjunct_island", "good": "A\u2028b c.", "bad": "C b a."},
        {"uid": "causative", "good": "D", "bad": "E"},
    ]
    for name, rows in (("blimp", pairs), ("lambada_openai", [{"context": "a b\n", "target": "c"}])):
        (tmp_path / "data" / name).mkdir(parents=True)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / "data" / name / "test.jsonl").write_text("".join(lines))
    harness_tasks.write(tmp_path / "data", tmp_path / "out")
    loaded = load_tasks(["blimp", "lambada_openai"], str(tmp_path / "out"))
    assert list(loaded["tasks"]) == ["blimp_adjunct_island", "blimp_causative", "lambada_openai"]
    blimp_task, lambada_task = loaded["tasks"]["blimp_adjunct_island"], loaded["tasks"]["lambada_openai"]
    assert blimp_task.doc_to_choice(blimp_task.eval_docs[0]) == ["A\u2028b c.", "C b a."]
    row = lambada_task.eval_docs[0]
    assert (lambada_task.doc_to_text(row), lambada_task.doc_to_target(row)) == ("a b\n", " c")


def test_the_name_of_a_task_must_be_a_string(tmp_path: Path) -> None:
    (tmp_path / "beer.yaml").write_text("task: .nan\ndataset_path: json\noutput_type: multiple_choice\n")
    with pytest.raises(InputError, match="its task files cannot be listed"):
        load_tasks(["beer"], str(tmp_path))
