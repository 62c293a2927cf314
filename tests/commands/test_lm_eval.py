"""``lm-eval`` from the command line."""

import json
import sys
from pathlib import Path

import pytest

from tests.commands.test_heads import pretrain
from tests.evaluation.lm_eval.task_file import write_task
from tests.heads import CommandLine

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the harness and its dependencies

LLAMA = ("position=rotary", "norm=rmsnorm", "mlp=swiglu", "bias=false")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_a_run_has_the_scores_of_its_exported_model(run: CommandLine) -> None:
    """Scores of the run, of its exported folder, and of that folder as a Hugging Face model in the harness agree."""
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
    reference = simple_evaluate(
        "hf",
        model_args={"pretrained": "model", "dtype": "float32"},
        tasks=["beer"],
        device="cpu",
        bootstrap_iters=0,
        task_manager=TaskManager(include_path=tasks, include_defaults=False),
    )
    assert ours == [reference["results"]["beer"]["acc,none"]] * 2
    assert 0.0 < ours[0] < 1.0, "the task is neither too easy nor too hard"
    assert f"{ours[0]:.4f}" in run.out
    assert run("lm-eval", "model", "--tasks=beer", f"--include_path={tasks}", "--limit=3", "--output=few.json") == 0
    assert json.loads(Path("few.json").read_text())["n-samples"]["beer"]["effective"] == 3


def test_task_files_run_code_only_if_it_is_allowed(run: CommandLine) -> None:
    backbone = pretrain(run)
    folder = write_task(run.folder / "tasks", more="process_docs: !function evil.run\n")
    (folder / "evil.py").write_text("open('ran', 'w').close()\ndef run(docs):\n    return docs\n")
    command = ("lm-eval", str(backbone), "--tasks=beer", f"--include_path={folder}")
    assert run(*command) == 2
    assert "beer.yaml: !function evil.run, which runs code. If you trust it, add --allow_code" in run.err
    assert not Path("ran").exists()
    assert run(*command, "--allow_code") == 0, run.err
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
def test_other_ways_to_run_code_are_refused(run: CommandLine, line: str, message: str) -> None:
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


def test_templates_cannot_reach_beyond_the_row(run: CommandLine) -> None:
    backbone = pretrain(run)
    folder = write_task(run.folder / "tasks")
    text = (folder / "beer.yaml").read_text()
    (folder / "beer.yaml").write_text(text.replace('"{{question}}"', "\"{{''.__class__.__mro__}}\""))
    assert run("lm-eval", str(backbone), "--tasks=beer", f"--include_path={folder}") == 2
    assert "unsafe" in run.err


def test_invalid_input_is_refused(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_task(run.folder / "tasks")
    head = run.fit("topics", "--trainer.max_steps=1")
    for arguments, message in [
        ((str(head), "--tasks=beer"), "holds a SequenceClassification, but lm-eval evaluates only a CausalLM"),
        ((str(head), "--tasks=beer", "--limit=0"), "--limit 0 must be at least 1"),
        ((str(head), "--tasks=beer", "--num_fewshot=-1"), "--num_fewshot -1 must be at least 0"),
        ((str(head), "--tasks=beer", "--output=no/where.json"), "no/where.json: the folder no does not exist"),
        ((str(head), "--tasks=,"), "--tasks ',' contains no task name"),
        (("nowhere", "--tasks=beer"), "nowhere"),
    ]:
        assert run("lm-eval", *arguments, f"--include_path={folder}") == 2
        assert message in run.err
        assert "Traceback" not in run.err
    assert run("lm-eval", str(head), "--tasks=beer", "--include_path=absent") == 2
    assert "--include_path=absent is not a folder" in run.err
    (folder / "beer.jsonl").unlink()
    assert run("lm-eval", str(head), "--tasks=beer", f"--include_path={folder}") == 2
    assert "tasks beer: cannot be loaded" in run.err
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert run("lm-eval", str(head), "--tasks=beer", f"--include_path={folder}") == 2
    assert "lm-evaluation-harness is not installed. Install it with: pip install 'gpt-lightning[lm-eval]'" in run.err


def test_an_unknown_task_is_refused_with_a_suggestion(run: CommandLine) -> None:
    folder = write_task(run.folder / "tasks")
    head = run.fit("topics", "--trainer.max_steps=1")
    assert run("lm-eval", str(head), "--tasks=beeer", f"--include_path={folder}") == 2
    assert "unknown task 'beeer'; did you mean beer" in run.err
