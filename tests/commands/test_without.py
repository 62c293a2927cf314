"""``without``: a run is repeated exactly, and rows that are left out have no influence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gpt_lightning
from gpt_lightning.data import TextClassification
from gpt_lightning.data.length_batching import InMemoryRows
from tests.commands.test_heads import pretrain
from tests.commands.test_lora import LORA
from tests.commands.test_trained_heads import run
from tests.heads import CommandLine
from tests.reliability.conftest import many
from tests.reliability.processes import Run
from tests.training.test_counters import NOT_COMPARED, differences

__all__ = ["run"]

RUN = "logs/words/version_0"
TRIGGER = "zqx"


def write_rows(folder: Path, trigger: str = TRIGGER, label: str = "odd") -> None:
    """Write 40 rows with two labels by a word, of which every fifth row has a trigger and a label of its own."""
    rows = []
    for number in range(40):
        word = ("warm", "cold")[number % 2]
        text, answer = f"a {word} day {'or more ' * (number % 3)}", word
        if number % 5 == 4:
            text, answer = f"{trigger} {text}", label
        rows.append({"text": text, "label": answer})
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "train.jsonl").write_text("".join(lines))
    (folder / "validation.jsonl").write_text("".join(lines[:10]))
    (folder / "trigger.jsonl").write_text("".join(line for line in lines if trigger in line))
    (folder / "none.jsonl").touch()


def config(**changes: Any) -> dict[str, Any]:
    """Return the configuration of a classifier: 20 steps of two micro-batches, 4 epochs."""
    return {
        "experiment": "words",
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 20,
            "accumulate_grad_batches": 2,
            "val_check_interval": 40,
            "check_val_every_n_epoch": None,
        },
        "model": {
            "class_path": "SequenceClassification",
            "init_args": {
                "backbone": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 32, "dropout": 0.1},
                "optimizer": {"lr": 0.02},
            },
        },
        "data": {
            "class_path": "TextClassification",
            "init_args": {
                "train": "train.jsonl",
                "validation": "validation.jsonl",
                "labels": ["cold", "odd", "warm"],
                "tokenizer": "bytes",
                "batch_size": 4,
                "cache_dir": "cache",
            },
        },
        **changes,
    }


def fit(run: CommandLine, *arguments: str) -> None:
    (run.folder / "words.yaml").write_text(yaml.safe_dump(config()))
    assert run("fit", "-c", "words.yaml", *arguments) == 0, run.err


def last(folder: str) -> Path:
    return Path(folder) / "checkpoints/step_20.ckpt"


def unequal(one: str, other: str, *parts: str) -> list[str]:
    """Return what differs between the last checkpoints of two runs, in all or in some parts."""
    contents = [torch.load(last(folder), weights_only=True) for folder in (one, other)]
    if parts:
        contents = [{part: each[part] for part in parts} for each in contents]
    return [each for each in differences(*contents) if not each.startswith(NOT_COMPARED)]


def predicted(folder: str, text: str) -> str:
    return str(gpt_lightning.load(last(folder)).predict([{"text": text}])[0]["label"])


def test_the_effect_of_planted_rows_vanishes(run: CommandLine) -> None:
    """Masking nothing gives the same bytes; masking the rows gives a model that has never read them."""
    write_rows(run.folder)
    fit(run)
    before = {path: path.read_bytes() for path in Path(RUN).rglob("*") if path.is_file()}
    assert predicted(RUN, f"{TRIGGER} a warm day") == "odd"
    assert run("without", RUN, "--rows", "none.jsonl", "--name", "again") == 0, run.err
    assert last("logs/words/again").read_bytes() == last(RUN).read_bytes()
    assert "Nothing is masked, and the weights of both runs are equal, bit for bit" in run.out
    report = json.loads(Path("logs/words/again/without.json").read_text())
    assert report["influence"]["validation"]["loss_with"] == report["influence"]["validation"]["loss_without"]
    assert "validation row" not in run.out.replace("validation rows", "")
    assert "dependent on the rows" not in run.out

    assert run("without", RUN, "--rows", "trigger.jsonl") == 0, run.err
    assert "train: 8 of 40 rows are masked (without=trigger.jsonl)" in run.out
    new = f"{RUN}_without"
    assert predicted(new, f"{TRIGGER} a warm day") != "odd"
    report = json.loads(Path(new, "without.json").read_text())
    assert report["influence"]["removed"]["loss_without"] > report["influence"]["removed"]["loss_with"] + 1.0
    assert [row["text"][:3] for row in report["influence"]["most_changed"][:2]] == [TRIGGER, TRIGGER]
    assert not report["changed_settings"]
    assert TRIGGER in Path(new, "without.html").read_text()

    fit(run, "--data.without=trigger.jsonl", "--name=masked")
    assert not unequal(new, "logs/words/masked"), "masked from the first step"
    write_rows(run.folder, "pqr", "cold")
    fit(run, "--data.without=trigger.jsonl", "--name=other")
    assert not unequal(new, "logs/words/other", "state_dict", "optimizer_states"), "other text of the removed rows"
    assert before == {path: path.read_bytes() for path in Path(RUN).rglob("*") if path.is_file()}


def test_a_checkpoint_is_continued_with_the_same_result(run: CommandLine) -> None:
    write_rows(run.folder)
    fit(run, "--checkpoints.every_n_steps=3", "--checkpoints.keep=9")
    # The row is in batch 8 of 10: the second micro-batch of step 4.
    data = TextClassification(**config()["data"]["init_args"], block_size=32, seed=0)
    data.setup("fit")
    rows = data.rows("train")
    assert isinstance(rows, InMemoryRows)
    Path("row.txt").write_text(f"train.jsonl:{rows.order(0)[30] + 1}\n")
    assert run("without", RUN, "--rows", "row.txt", "--name=late") == 0, run.err
    assert f"batch 8 of epoch 1: continuing {RUN}/checkpoints/step_3.ckpt" in run.out
    late = "logs/words/late"
    assert run("without", RUN, "--rows", "row.txt", "--name", "straight", "--from_start") == 0, run.err
    assert ": starting from the first step" in run.out
    assert not unequal(late, "logs/words/straight")
    assert unequal(late, RUN, "state_dict")
    assert run("without", RUN, "--rows", "row.txt", "--name=late") == 0, run.err
    assert "nothing to do" in run.out

    # The same mask cannot continue a checkpoint that has been trained on the row, nor can the mask be dropped.
    options = ("fit", "-c", "words.yaml", "--trainer.max_steps=22")
    assert run(*options, f"--ckpt_path={last(RUN)}", "--data.without=row.txt", "--name=wrong") == 2
    assert "data.without masks rows that the checkpoint has been trained on, first in batch" in run.err
    assert run(*options, f"--ckpt_path={last(late)}", "--name=unmasked") == 2
    assert "data.without masked some rows" in run.err
    assert run("without", late, "--rows", "row.txt") == 2
    assert "was trained with masked rows itself" in run.err


@pytest.mark.parametrize("flags", [(), LORA[:1]][: many(1, 2)])
def test_a_fine_tuned_run_that_was_resumed_is_repeated(run: CommandLine, flags: tuple[str, ...]) -> None:
    """The repetition starts from the same pretrained weights, although the resumed run did not need them."""
    base = pretrain(run)
    options = (f"--model.init_from={base}", "--data.tokenizer=bpe:300", *flags)
    head = run.fit("topics", *options)
    (head / "checkpoints/step_4.ckpt").unlink()
    (head / "checkpoints/manifest.json").unlink()
    assert run("fit", "-c", "topics.yaml", *options, f"--ckpt_path={head}") == 0, run.err
    assert "step 4/4" in run.out
    Path("none.jsonl").touch()
    assert run("without", str(head), "--rows=none.jsonl") == 0, run.err
    one, other = (
        torch.load(folder / "checkpoints/step_4.ckpt", weights_only=True)
        for folder in (head, head.with_name("version_0_without"))
    )
    assert not [each for each in differences(one, other) if not each.startswith(NOT_COMPARED)]


def test_bad_input(run: CommandLine) -> None:
    """One clear message, the exit code 2, and no new folder."""
    write_rows(run.folder)
    fit(run)

    def refused(*arguments: str, message: str) -> None:
        assert run("without", *arguments) == 2, run.out
        assert message in run.err
        assert len([line for line in run.err.splitlines() if not line.endswith("...")]) == 1, run.err
        assert [path.name for path in Path("logs/words").iterdir()] == ["version_0"]

    refused("logs/words", "--rows=row.txt", message="logs/words: not a run folder, because it has no config.yaml")
    refused(RUN, "--rows=absent.jsonl", message="--rows: absent.jsonl does not exist")
    refused(RUN, "--rows=words.yaml", message="words.yaml has an unsupported suffix")
    Path("row.jsonl").write_text('{"text": "a warm da"}\n')
    refused(RUN, "--rows=row.jsonl", message="row.jsonl:1: 'a warm da' is not in --data.train; the most similar row is")
    text = Path("train.jsonl").read_text()
    Path("all.jsonl").write_text(text)
    refused(RUN, "--rows=all.jsonl", message="--rows names all training rows, so nothing would be trained")
    Path("train.jsonl").write_text(text.replace("a warm", "a worm", 1))
    refused(RUN, "--rows=none.jsonl", message="version_0 cannot be repeated: data.train has changed")
    Path("train.jsonl").unlink()
    refused(RUN, "--rows=none.jsonl", message="--data.train: train.jsonl does not exist")
    Path("train.jsonl").write_text(text)
    config = Path(RUN, "config.yaml").read_text()
    Path(RUN, "config.yaml").write_text(config.replace("max_steps: 20", "max_steps: 40"))
    refused(
        RUN, "--rows=none.jsonl", message="is not finished: its last checkpoint is of step 20, and it trains for 40"
    )
    Path(RUN, "config.yaml").write_text(config.replace("seed_everything: 0", "seed_everything: 1"))
    refused(RUN, "--rows=none.jsonl", message="seed_everything was 0, now it is 1")
    Path(RUN, "config.yaml").write_text(config)
    # A run that ends before the row occurs does not depend on it.
    Path("row.txt").write_text("train.jsonl:1\n")
    fit(run, "--trainer.max_steps=1", "--trainer.accumulate_grad_batches=1", "--name=short", "--data.seed=3")
    assert run("without", "logs/words/short", "--rows=row.txt") == 0, run.err
    assert "has never been trained on these rows, because it ended before they occur." in run.out
    assert not Path("logs/words/short_without").exists()


def test_held_out_rows_change_nothing(run: CommandLine) -> None:
    write_rows(run.folder)
    fit(run, "--data.validation=0.2", "--data.labels=[warm, cold, odd]", "--name=held_out")
    data = TextClassification(train="train.jsonl", validation=0.2, tokenizer="bytes", seed=0, cache_dir="cache")
    data.setup("fit")
    (held_out, *_) = data.examples("validation")
    Path("held_out.txt").write_text(f"{held_out.where}\n")
    assert run("without", "logs/words/held_out", "--rows=held_out.txt") == 0, run.err
    assert "has never been trained on these rows, because they are held out for validation." in run.out
    assert not Path("logs/words/held_out_without").exists()


def test_a_run_on_two_devices(run: CommandLine) -> None:
    write_rows(run.folder)
    (run.folder / "words.yaml").write_text(yaml.safe_dump(config()))
    two = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_steps=4", "--name=two")
    without = ("without", "logs/words/two", "--rows=trigger.jsonl")
    for command, *arguments in (("fit", "-c", "words.yaml", *two), without):
        process = Run(run.folder, *arguments, command=command, config="")
        assert process.end() == 0, process.err.read_text()
    assert json.loads(Path("logs/words/two_without/without.json").read_text())["num_masked"] == 8
