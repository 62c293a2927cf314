"""A language model on tasks of lm-evaluation-harness, as a user asks for it."""

import json
import sys
from pathlib import Path

import pytest

from tests.commands.test_heads import pretrain
from tests.evaluation.lm_eval.task_file import write_task
from tests.heads import CommandLine

pytestmark = pytest.mark.filterwarnings("ignore")  # the harness's, and those of what it imports

LLAMA = ("position=rotary", "norm=rmsnorm", "mlp=swiglu", "bias=false")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_a_run_is_measured_as_hugging_faces_model_is(run: CommandLine) -> None:
    """The run, its exported folder, and what the harness itself makes of that."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    backbone = pretrain(run, *(f"--model.backbone.{flag}" for flag in LLAMA))
    tasks = str(write_task(run.folder / "tasks"))
    assert run("lm-eval", str(backbone), "--tasks=beer", f"--include_path={tasks}", "--output=run.json") == 0, run.err
    header, _, row = run.out.splitlines()
    assert header.split() == ["|", "task", "|", "examples", "|", "metric", "|", "value", "|", "standard", "error", "|"]
    assert row.split()[1:6:2] == ["beer", "0", "acc"]
    assert run("export", str(backbone), "model") == 0, run.err
    assert run("lm-eval", "model", "--tasks=be*", f"--include_path={tasks}", "--output=model.json") == 0, run.err
    ours = [json.loads(Path(f"{name}.json").read_text())["results"]["beer"]["acc,none"] for name in ("run", "model")]
    measured = simple_evaluate(
        "hf",
        model_args={"pretrained": "model", "dtype": "float32"},
        tasks=["beer"],
        device="cpu",
        bootstrap_iters=0,
        task_manager=TaskManager(include_path=tasks, include_defaults=False),
    )
    assert ours == [measured["results"]["beer"]["acc,none"]] * 2
    assert 0.0 < ours[0] < 1.0, "all right or all wrong says little"
    assert f"{ours[0]:.4f}" in run.out
    assert run("lm-eval", "model", "--tasks=beer", f"--include_path={tasks}", "--limit=3", "--output=few.json") == 0
    assert json.loads(Path("few.json").read_text())["n-samples"]["beer"]["effective"] == 3


def test_task_files_run_no_code_unless_that_is_allowed(run: CommandLine) -> None:
    backbone = pretrain(run)
    folder = write_task(run.folder / "tasks", more="process_docs: !function evil.run\n")
    (folder / "evil.py").write_text("open('ran', 'w').close()\ndef run(docs):\n    return docs\n")
    asked = ("lm-eval", str(backbone), "--tasks=beer", f"--include_path={folder}")
    assert run(*asked) == 2
    assert "beer.yaml: !function evil.run, which runs code; add --allow_code if you trust it" in run.err
    assert not Path("ran").exists()
    assert run(*asked, "--allow_code") == 0, run.err
    assert Path("ran").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("class: evil.Task", "class: evil.Task, which runs code"),
        ("dataset_name: x\ndataset_path: evil", "dataset_path: evil, which runs code"),
        ("dataset_path: pandas", "dataset_path: pandas, which runs code"),
        ("use_prompt: evil", "use_prompt: evil, which runs code"),
        ("metric_list: [{metric: evil}]", "metric: evil, which runs code"),
    ],
)
def test_other_ways_to_code_are_refused(run: CommandLine, line: str, message: str) -> None:
    from gpt_lightning.errors import InputError
    from gpt_lightning.evaluation.lm_eval.load_tasks import load_tasks

    key = line.split(":")[0]
    folder = write_task(run.folder / "tasks")
    text = (folder / "beer.yaml").read_text()
    if key in ("dataset_path", "metric_list"):
        text = text.replace(f"{key}:", "ignored:").replace("ignored: json\n", "")
    (folder / "beer.yaml").write_text(f"{text}{line}\n")
    with pytest.raises(InputError, match=message):
        load_tasks(["beer"], str(folder))


def test_templates_reach_the_row_and_nothing_behind_it(run: CommandLine) -> None:
    backbone = pretrain(run)
    folder = write_task(run.folder / "tasks")
    text = (folder / "beer.yaml").read_text()
    (folder / "beer.yaml").write_text(text.replace('"{{question}}"', "\"{{''.__class__.__mro__}}\""))
    assert run("lm-eval", str(backbone), "--tasks=beer", f"--include_path={folder}") == 2
    assert "unsafe" in run.err


def test_bad_input(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_task(run.folder / "tasks")
    head = run.fit("topics", "--trainer.max_steps=1")
    for arguments, message in [
        ((str(head), "--tasks=beer"), "holds a SequenceClassification; only a CausalLM can be measured"),
        ((str(head), "--tasks=beer", "--limit=0"), "--limit 0 must be at least 1"),
        ((str(head), "--tasks=beer", "--num_fewshot=-1"), "--num_fewshot -1 must be at least 0"),
        ((str(head), "--tasks=beer", "--output=no/where.json"), "--output no/where.json: there is no folder no"),
        ((str(head), "--tasks=,"), "--tasks names none: ','"),
        (("nowhere", "--tasks=beer"), "nowhere"),
    ]:
        assert run("lm-eval", *arguments, f"--include_path={folder}") == 2
        assert message in run.err
        assert "Traceback" not in run.err
    assert run("lm-eval", str(head), "--tasks=beer", "--include_path=absent") == 2
    assert "--include_path absent is no folder" in run.err
    (folder / "beer.jsonl").unlink()
    assert run("lm-eval", str(head), "--tasks=beer", f"--include_path={folder}") == 2
    assert "tasks beer: cannot be loaded" in run.err
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert run("lm-eval", str(head), "--tasks=beer", f"--include_path={folder}") == 2
    assert "lm-evaluation-harness is not installed. Install it with: pip install 'gpt-lightning[lm-eval]'" in run.err


def test_a_name_that_is_no_task(run: CommandLine) -> None:
    folder = write_task(run.folder / "tasks")
    head = run.fit("topics", "--trainer.max_steps=1")
    assert run("lm-eval", str(head), "--tasks=beeer", f"--include_path={folder}") == 2
    assert "no task 'beeer'; did you mean beer" in run.err
