"""Heads: training, testing and predicting from the command line."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.tasks.load import find_checkpoint, load_task
from tests.heads import CommandLine, write_config
from tests.runs import write_text


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


SHAPE = ("--model.backbone.n_layer=1", "--model.backbone.n_head=2", "--model.backbone.n_embd=24")


def pretrain(run: CommandLine, *arguments: str) -> Path:
    """Train a language model with another shape and tokenizer than the heads, and return its run folder."""
    write_text(run.folder)
    code = run(
        *("fit", "--experiment=lm", "--model=CausalLM", "--data=LanguageModeling", *SHAPE),
        *("--model.backbone.block_size=64", "--data.train=text.txt", "--data.tokenizer=bpe:270"),
        *("--data.batch_size=1", "--data.cache_dir=cache", "--trainer.max_steps=2", "--trainer.accelerator=cpu"),
        "--trainer.log_every_n_steps=1",
        *arguments,
    )
    assert code == 0, run.err
    return Path("logs/lm/version_0")


def test_one_flag_starts_a_head_from_a_backbone(run: CommandLine, tmp_path: Path) -> None:
    backbone = pretrain(run)
    head = run.fit("topics", f"--model.init_from={backbone}", "--data.tokenizer=bpe:300", "--trainer.max_steps=1")
    assert "shape of the backbone from logs/lm/version_0/checkpoints/step_2.ckpt: block_size=64 (not 128)" in run.out
    assert "n_embd=24 (not 16)" in run.out
    assert "tokenizer from logs/lm/version_0/checkpoints/step_2.ckpt: bpe (270)" in run.out
    assert (tmp_path / head / "tokenizer.json").read_text() == (tmp_path / backbone / "tokenizer.json").read_text()
    before = read_checkpoint(find_checkpoint(str(tmp_path / backbone), "last"))
    after = read_checkpoint(find_checkpoint(str(tmp_path / head), "last"))
    assert after["hyper_parameters"]["backbone"] == before["hyper_parameters"]["backbone"]
    moved = (after["state_dict"]["backbone.token_embedding.weight"], before["state_dict"]["head.weight"])
    assert torch.allclose(*moved, atol=0.05), "one step changes little"


def test_a_task_may_change_attention_and_dropout_of_a_backbone(run: CommandLine, tmp_path: Path) -> None:
    backbone = pretrain(run)
    flags = ("--model.backbone.attention=bidirectional", "--model.backbone.dropout=0.2")
    head = run.fit("tags", f"--model.init_from={backbone}", "--data.tokenizer=bpe:300", *flags)
    saved = read_checkpoint(find_checkpoint(str(tmp_path / head)))["hyper_parameters"]["backbone"]
    assert (saved["attention"], saved["dropout"], saved["n_embd"]) == ("bidirectional", 0.2, 24)


def test_another_tokenizer_is_refused_with_both_names(run: CommandLine) -> None:
    backbone = pretrain(run)
    write_config(run.folder, "topics")
    assert run("fit", "-c", "topics.yaml", f"--model.init_from={backbone}") == 2
    trained = "logs/lm/version_0/checkpoints/step_2.ckpt (bpe, 270 tokens)"
    assert f"--data.tokenizer=bytes (257 tokens) differs from the tokenizer of {trained}" in run.err
    assert not (run.folder / "logs" / "topics").exists()


def test_a_run_that_started_from_a_backbone_resumes_without_it(run: CommandLine, tmp_path: Path) -> None:
    backbone = pretrain(run)
    head = run.fit("topics", f"--model.init_from={backbone}", "--data.tokenizer=bpe:300", "--trainer.max_steps=2")
    find_checkpoint(str(tmp_path / backbone)).unlink()
    config = str(head / "config.yaml")
    assert run("fit", "-c", config, f"--ckpt_path={head}", "--trainer.max_steps=4") == 0, run.err
    assert "4 steps" in run.out
    assert f"init_from: {backbone}" in Path(config).read_text(), "the configuration starts the same run again"


def test_a_run_is_tested_with_the_shape_of_its_checkpoint(run: CommandLine) -> None:
    backbone = pretrain(run)
    head = run.fit("topics", f"--model.init_from={backbone}", "--data.tokenizer=bpe:300", "--trainer.max_steps=2")
    flags = ("-c", "topics.yaml", f"--ckpt_path={head}", "--data.tokenizer=bpe:300")
    assert run("test", *flags) == 0, run.err
    assert "from the checkpoint: model.backbone.n_embd=24 (the configuration has 16)" in run.out
    assert run("test", *flags, "--model.backbone.n_embd=16") == 2
    assert "model.backbone.n_embd=16, but logs/topics/version_0/checkpoints/step_2.ckpt was trained with 24" in run.err


def test_a_frozen_backbone_does_not_change(run: CommandLine, tmp_path: Path) -> None:
    backbone = pretrain(run)
    flags = (f"--model.init_from={backbone}", "--data.tokenizer=bpe:300", "--model.fine_tuning.freeze=all")
    head = run.fit("topics", *flags)
    before = read_checkpoint(find_checkpoint(str(tmp_path / backbone), "last"))["state_dict"]
    after = read_checkpoint(find_checkpoint(str(tmp_path / head), "last"))["state_dict"]
    for name, value in after.items():
        if name.startswith("backbone."):
            assert torch.equal(value, before[name]), name


def test_labels_come_from_the_checkpoint(run: CommandLine, tmp_path: Path) -> None:
    """``predict`` needs neither the training data nor labels in the rows, and keeps the order of the rows."""
    head = run.fit("topics")
    rows = [{"id": f"new {number}", "text": "the sun " * (5 - number)} for number in range(5)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--data=TextClassification", "--data.test=new.jsonl", "--data.cache_dir=cache", "--data.batch_size=2")
    assert run("predict", *flags, f"--ckpt_path={head}", "--trainer.accelerator=cpu") == 0, run.err
    records = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == [row["id"] for row in rows]
    for record in records:
        assert record["label"] == max(record["scores"], key=record["scores"].get)
        assert set(record["scores"]) == {"sport", "weather", "<b>odd</b>|[red]"}
        assert sum(record["scores"].values()) == pytest.approx(1.0)
    assert run("test", "-c", "topics.yaml", f"--ckpt_path={head}", "--data.labels=[a,b]") == 2
    assert "--data.labels is ['a', 'b'], but" in run.err


def test_tags_of_raw_text_are_predicted(run: CommandLine, tmp_path: Path) -> None:
    head = run.fit("tags")
    (tmp_path / "new.jsonl").write_text('{"id": 1, "text": "Anna , in New York ."}\n')
    assert run("predict", "-c", "tags.yaml", f"--ckpt_path={head}", "--data.test=new.jsonl") == 0, run.err
    (record,) = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert record["id"] == "1"
    assert len(record["tags"]) == len(["Anna", ",", "in", "New", "York", "."])
    for entity in record["entities"]:
        assert "Anna , in New York ."[entity["start"] : entity["end"]] == entity["text"]


def test_the_pooling_of_the_checkpoint_is_used(run: CommandLine, tmp_path: Path) -> None:
    """It holds for training, for predictions from the run, and for those from the exported folder."""
    head = run.fit("tags", "--model.pooling=last")
    assert run("export", str(head), "model") == 0, run.err
    assert run("predict", "--model=model", "--input=tags.jsonl", "--data.cache_dir=cache") == 0, run.err
    records = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    task, tokenizer = load_task(find_checkpoint("model"))
    for line, record in zip((tmp_path / "tags.jsonl").read_text().splitlines(), records, strict=True):
        words = json.loads(line)["tokens"]
        pieces = [tokenizer.encode(" " * (number > 0) + word) for number, word in enumerate(words)]
        ids = torch.tensor([[tokenizer.end_of_text_id, *(each for piece in pieces for each in piece)]])
        last = torch.zeros_like(ids, dtype=torch.bool)
        last[0, [sum(map(len, pieces[: number + 1])) for number in range(len(words))]] = True
        with torch.no_grad():
            tags = task(ids, torch.ones_like(last), last).argmax(1).tolist()
        assert record["tags"] == [task.hparams["labels"][tag] for tag in tags]


def test_data_of_another_task_is_refused(run: CommandLine) -> None:
    write_config(run.folder, "topics")
    assert run("fit", "-c", "topics.yaml", "--model=CausalLM", "--model.backbone.n_layer=1") == 2
    assert "model CausalLM and data TextClassification cannot be combined" in run.err
    assert "CausalLM needs --data=InstructionTuning or LanguageModeling" in run.err


def test_multi_label_classification(run: CommandLine, tmp_path: Path) -> None:
    """The argument of the task sets that of the data module."""
    rows = [{"text": "sun and goals", "label": ["sport", "weather"]}, {"text": "nothing", "label": []}] * 4
    write_config(run.folder, "topics")
    (tmp_path / "topics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (
        run(
            "fit",
            "-c",
            "topics.yaml",
            "--model.multi_label=true",
            "--checkpoints.monitor=val/micro_f1",
            "--checkpoints.mode=max",
        )
        == 0
    ), run.err
    assert "val/mean_average_precision" in run.out
    assert run("predict", "-c", "topics.yaml", "--ckpt_path=logs/topics/version_0") == 0, run.err
    record = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    assert record["labels"] == [label for label, score in record["scores"].items() if score >= 0.5]
    assert run("test", "-c", "topics.yaml", "--ckpt_path=logs/topics/version_0") == 0, run.err


def test_labels_of_any_characters_survive_a_checkpoint(run: CommandLine, tmp_path: Path) -> None:
    """The YAML parser reads the values of a checkpoint again."""
    names = ["😀 joy", "null", "1", "true", "a, b]", "x: y", "- z", "\x7f", "a\x85b", "e\u0301", "[q", "#c", "'"]
    write_config(run.folder, "topics")
    (tmp_path / "topics.jsonl").write_text("".join(json.dumps({"text": "t", "label": name}) + "\n" for name in names))
    assert run("fit", "-c", "topics.yaml", "--model.class_weights={'null': 2.0}", "--trainer.max_steps=2") == 0, run.err
    assert run("test", "-c", "topics.yaml", "--ckpt_path=logs/topics/version_0") == 0, run.err
    assert run("predict", "-c", "topics.yaml", "--ckpt_path=logs/topics/version_0") == 0, run.err
    records = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().split("\n")[:-1]]
    assert set(records[0]["scores"]) == set(names)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", {"class_path": "evil_module.Anything"}),
        ("backbone", {"n_layer": {"class_path": "evil_module.Anything"}}),
        ("backbone", "/etc/passwd"),
        ("optimizer", {"class_path": "evil_module.Anything", "init_args": {}}),
        ("labels", [{"class_path": "evil_module.Anything"}]),
        ("class_path", "evil_module.Anything"),
    ],
)
def test_a_checkpoint_imports_nothing_by_its_hyper_parameters(
    run: CommandLine, tmp_path: Path, name: str, value: object
) -> None:
    head = run.fit("topics")
    (tmp_path / "evil_module.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    path = find_checkpoint(str(tmp_path / head))
    checkpoint = dict(read_checkpoint(path))
    checkpoint["hyper_parameters"] = dict(checkpoint["hyper_parameters"]) | {name: value}
    evil = tmp_path / "evil.ckpt"
    torch.save(checkpoint, evil)
    for command in (
        ("test", "-c", "topics.yaml", f"--ckpt_path={evil}"),
        ("fit", "-c", "topics.yaml", f"--ckpt_path={evil}"),
        ("fit", "-c", "topics.yaml", f"--model.init_from={evil}"),
    ):
        assert run(*command) == 2
        reason = (
            f"{evil}: hyper_parameters.backbone"
            if name == "backbone"
            else f"hyper-parameter '{name}' does not fit the constructor of gpt_lightning.SequenceClassification"
        )
        assert reason in run.err
    assert not (tmp_path / "ran").exists()


def test_a_run_resumes_with_another_rate_but_not_with_other_parameter_groups(run: CommandLine) -> None:
    head = run.fit("topics", "--model.fine_tuning.head_lr=0.02", "--trainer.max_steps=2")
    again = ("fit", "-c", "topics.yaml", f"--ckpt_path={head}", "--trainer.max_steps=4")
    assert run(*again, "--model.fine_tuning.freeze=1") == 2
    assert "Resuming cannot change which layers are frozen" in run.err
    assert run(*again, "--model.fine_tuning.head_lr=null") == 2
    # The head learned faster than the rest and is slower now: its optimizer state must not be mixed with others.
    assert run(*again, "--model.optimizer.lr=0.05") == 0, run.err


def test_the_scheme_comes_from_the_checkpoint(run: CommandLine) -> None:
    head = run.fit("tags", "--data.scheme=BIOES", "--checkpoints.monitor=val/loss")
    losses = []
    for flags in (["--data.scheme=BIOES"], []):
        assert run("test", "-c", "tags.yaml", f"--ckpt_path={head}", *flags) == 0, run.err
        losses.append(json.loads((run.folder / head / "metrics.json").read_text())["metrics"])
    assert losses[0] == losses[1]


def test_what_a_head_changes_of_a_pretrained_model(run: CommandLine) -> None:
    """Changed attention and dropout are printed; on a causal model, the last token is read by default."""
    backbone = pretrain(run, "--model.backbone.dropout=0.1")
    common = (f"--model.init_from={backbone}", "--data.tokenizer=bpe:300", "--trainer.max_steps=1")
    title = "changed in the pretrained model logs/lm/version_0/checkpoints/step_2.ckpt: "
    attention, dropout = "model.backbone.attention=bidirectional (not causal)", "model.backbone.dropout=0.0 (not 0.1)"
    for name, flags, pooling, changes in (
        ("tags", ("--model.backbone.attention=bidirectional",), "first", f"{attention}, {dropout}"),
        ("tags", (), "last", dropout),
        ("topics", ("--model.backbone.dropout=0.1",), "last", ""),
        ("topics", ("--model.pooling=mean",), "mean", dropout),
    ):
        shutil.rmtree("logs/run", ignore_errors=True)
        run.fit(name, *common, *flags, "--experiment=run", "--name=run")
        saved = read_checkpoint(find_checkpoint("logs/run/run"))["hyper_parameters"]
        assert saved["pooling"] == pooling
        assert f"{title}{changes}\n" in run.out if changes else title not in run.out
