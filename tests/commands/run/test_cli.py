"""``fit``, ``validate``, ``test`` and ``predict`` from the command line."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.checkpoint import checkpoint

from gpt_lightning import tasks
from gpt_lightning.cli import main
from gpt_lightning.models import layers
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from tests.runs import write_text

CONFIG = """
experiment: beer
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 4
  val_check_interval: 2
  check_val_every_n_epoch: null
  log_every_n_steps: 1
model:
  class_path: CausalLM
  init_args:
    backbone: {n_layer: 1, n_head: 2, n_embd: 16, block_size: 8, dropout: 0.1}
    optimizer: {lr: 0.01}
data:
  class_path: LanguageModeling
  init_args:
    train: text.txt
    validation: text.txt
    test: text.txt
    tokenizer: characters
    batch_size: 4
    cache_dir: cache
samples: {max_new_tokens: 5}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Yield a function that runs a command in a folder with a text and a configuration.

    It returns the exit code, standard output and standard error.
    """
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    yield call
    os.environ.pop("PL_GLOBAL_SEED", None)


def fit(run: Run, *arguments: str) -> str:
    code, out, err = run("fit", "-c", "config.yaml", *arguments)
    assert code == 0, err
    return out


def test_fit_writes_the_folder_of_the_run(run: Run, tmp_path: Path) -> None:
    out = fit(run)
    folder = tmp_path / "logs" / "beer" / "version_0"
    assert {path.name for path in folder.glob("[!e.]*")} == {
        "config.yaml",
        "checkpoints",
        "tokenizer.json",
        "hparams.yaml",
        "history.jsonl",
        "report.json",
        "report.html",
    }
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        "manifest.json",
        "step_2.ckpt",
        "step_4.ckpt",
    }
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["schedule"]["kind"] == "cosine", "the file holds defaults too"
    assert f"best: {folder.relative_to(tmp_path)}/checkpoints/step_" in out
    assert "tensorboard --logdir logs/beer" in out


def test_the_tags_of_tensorboard(run: Run, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(run)
    events = EventAccumulator(str(tmp_path / "logs" / "beer" / "version_0"))
    events.Reload()
    tags = events.Tags()
    diagnostics = {tag for tag in tags["scalars"] if tag.startswith(("val_loss_by_", "val_final/"))}
    assert {tag.partition("/")[0] for tag in diagnostics} == {
        "val_loss_by_document_length",
        "val_loss_by_position",
        "val_loss_by_token_frequency",
        "val_final",
    }
    assert set(tags["scalars"]) - diagnostics == {
        "train/loss",
        "val/bits_per_byte",
        "val/loss",
        "val/perplexity",
        "weight_update/gradient_norm",
        "weight_update/learning_rate",
        "workload/mfu",
        "workload/peak_memory_gb",
        "workload/tokens_per_second",
        "x_axis/epoch",
        "x_axis/tokens",
    }
    assert set(tags["tensors"]) == {"yaml/config/text_summary", "sample/0/text_summary"}
    assert [event.value for event in events.Scalars("x_axis/tokens")] == [32.0, 64.0, 96.0, 128.0]
    loss, bits = (events.Scalars(f"val/{name}")[-1].value for name in ("loss", "bits_per_byte"))
    assert bits == pytest.approx(loss / 0.6931472, rel=0.02), "each character is one byte, except for the end of text"


def test_a_new_run_has_a_new_folder(run: Run, tmp_path: Path) -> None:
    fit(run, "--trainer.max_steps=1")
    fit(run, "--trainer.max_steps=1")
    assert {path.name for path in (tmp_path / "logs" / "beer").iterdir()} == {"version_0", "version_1"}


def test_a_resumed_run_stays_in_its_folder(run: Run, tmp_path: Path) -> None:
    constant = ("--model.schedule.kind=constant", "--model.schedule.warmup_steps=0")
    fit(run, *constant, "--trainer.max_steps=6")
    straight = read_checkpoint(tmp_path / "logs/beer/version_0/checkpoints/step_6.ckpt")
    fit(run, *constant, "--trainer.max_steps=3")
    last = "logs/beer/version_1/checkpoints/step_6.ckpt"
    fit(run, *constant, "--trainer.max_steps=6", "--ckpt_path=logs/beer/version_1")
    assert {path.name for path in (tmp_path / "logs" / "beer").iterdir()} == {"version_0", "version_1"}
    resumed = read_checkpoint(tmp_path / last)
    assert resumed["global_step"] == 6
    assert all(value.equal(resumed["state_dict"][name]) for name, value in straight["state_dict"].items())


def test_activation_checkpointing_changes_no_number(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = 0

    def spy(*arguments: Any, **options: Any) -> Any:
        nonlocal blocks
        blocks += 1
        return checkpoint(*arguments, **options)

    monkeypatch.setattr(layers, "checkpoint", spy)
    fit(run)
    assert blocks == 0
    fit(run, "--activation_checkpointing=true")
    assert blocks == 4, "one block in each of four steps, and none during validation"
    one, other = (read_checkpoint(Path(f"logs/beer/version_{n}/checkpoints/step_4.ckpt")) for n in (0, 1))
    assert all(value.equal(other["state_dict"][name]) for name, value in one["state_dict"].items())
    assert one["hyper_parameters"] == other["hyper_parameters"], "checkpointing of activations is not part of the model"


def test_flags_win_over_yaml_and_yaml_over_the_checkpoint(run: Run, tmp_path: Path) -> None:
    fit(run, "--model.optimizer.lr=0.5", "--model.optimizer.beta1=0.8")
    last = "logs/beer/version_0/checkpoints/step_4.ckpt"
    out = fit(run, f"--ckpt_path={last}", "--trainer.max_steps=5", "--model.optimizer.weight_decay=0.3")
    assert "changed: model.optimizer.lr=0.01 (the checkpoint has 0.5)" in out  # YAML
    assert "changed: model.optimizer.weight_decay=0.3 (the checkpoint has 0.1)" in out  # flag
    assert "from the checkpoint: model.optimizer.beta1=0.8" in out
    hparams = read_checkpoint(find_checkpoint(str(tmp_path / "logs/beer/version_0"), "last"))["hyper_parameters"]
    assert hparams["optimizer"] == {
        "kind": "adamw",
        "lr": 0.01,
        "beta1": 0.8,
        "beta2": 0.95,
        "eps": 1e-8,
        "weight_decay": 0.3,
        "max_skipped_steps": 0,
        "muon_lr": None,
        "muon_momentum": 0.95,
    }


def test_a_checkpoint_needs_no_configuration(run: Run) -> None:
    fit(run)
    code, out, err = run("test", "--ckpt_path=logs/beer/version_0", "--data.test=text.txt", "--data.cache_dir=cache")
    assert code == 0, err
    assert "test/bits_per_byte" in out


def test_validate_and_predict(run: Run, tmp_path: Path) -> None:
    fit(run)
    checkpoint = "--ckpt_path=logs/beer/version_0/checkpoints/step_4.ckpt"
    code, out, err = run("validate", "-c", "config.yaml", checkpoint)
    assert code == 0, err
    assert "val/loss" in out
    code, out, err = run("predict", "-c", "config.yaml", checkpoint)
    assert code == 0, err
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    text = (tmp_path / "text.txt").read_text()
    assert sum(row["num_tokens"] for row in rows) == len(text) + 1  # with the end of text
    assert sum(row["num_bytes"] for row in rows) == len(text.encode())
    assert not (tmp_path / "logs" / "beer" / "version_1").exists(), "evaluation makes no new run"


def test_a_shape_that_differs_from_the_checkpoint_is_refused(run: Run) -> None:
    fit(run)
    code, _, err = run(
        "fit",
        "-c",
        "config.yaml",
        "--ckpt_path=logs/beer/version_0/checkpoints/step_4.ckpt",
        "--model.backbone.n_layer=2",
    )
    assert code == 2
    assert "model.backbone.n_layer=2, but logs/beer/version_0/checkpoints/step_4.ckpt was trained with 1" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fitt"], "unknown command 'fitt'; did you mean 'fit'?"),
        (
            ["--trainer.max_steps=1", "fit"],
            "--trainer.max_steps=1 is in front of the command. Options follow the command",
        ),
        (["fit", "-c", "config.yaml", "--modle.optimizer.lr=1"], "did you mean 'model.optimizer.lr'?"),
        (["fit", "-c", "config.yaml", "--model.backbone.n_layr=1"], "did you mean 'model.backbone.n_layer'?"),
        (["fit", "-c", "config.yaml", "--trainer.max_step=1"], "did you mean 'trainer.max_steps'?"),
        (["fit", "-c", "config.yaml", "--data.trian=text.txt"], "did you mean 'data.train'?"),
        (
            ["fit", "--data.train=text.txt", "--data=LanguageModeling"],
            "--data.train needs a data class first",
        ),
        (["fit", "-c"], "argument -c/--config: expected one argument"),
        (["fit", "--model=CausalLM", "--data.train=text.txt"], "put -c FILE or --data=CLASS before it"),
        (["fit", "-c", "typo.yaml"], "unknown key 'batchsize'; did you mean 'data.batch_size'?"),
        (["fit", "-c", "typo2.yaml"], "unknown key 'experimnt'; did you mean 'experiment'?"),
        (["fit", "-c", "absent.yaml"], "absent.yaml"),
        (["fit", "-c", "config.yaml", "--trainer.max_steps=many"], "max_steps"),
        (["fit", "-c", "config.yaml", "--model.backbone.n_embd=15"], "n_embd=15 is not divisible by backbone.n_head=2"),
        (["fit", "-c", "config.yaml", "--model.backbone.vocab_size=5"], "ids but model.backbone.vocab_size=5"),
        (["fit", "-c", "config.yaml", "--data.train=absent.txt"], "absent.txt does not exist"),
        (["fit", "-c", "config.yaml", "--data.train=empty.txt"], "empty.txt"),
        (["fit", "-c", "config.yaml", "--data.train=null"], "there is no train data; set it with --data.train=FILE"),
        (["fit", "-c", "config.yaml", "--data.train=bad.jsonl"], "bad.jsonl:2"),
        (["fit", "-c", "config.yaml", "--data.train=columns.jsonl"], "the columns are 'id', 'body'"),
        (["fit", "-c", "config.yaml", "--data.train=latin1.txt"], "latin1.txt:2"),
        (["fit", "-c", "config.yaml", "--data.train=short.txt"], "at least 9 are needed"),
        (["fit", "-c", "config.yaml", "--data.tokenizer=absent.json"], "'absent.json' is not a tokenizer"),
        (["fit", "-c", "config.yaml", "--log_dir=text.txt"], "cannot write to text.txt/beer"),
        (["fit", "-c", "config.yaml", "--trainer.limit_train_batches=0"], "leaves no batch to fit"),
        (
            ["fit", "-c", "config.yaml", "--ckpt_path=absent.ckpt"],
            "absent.ckpt: no checkpoint, run folder or model folder has this path",
        ),
        (["fit", "-c", "config.yaml", "--ckpt_path=text.txt"], "text.txt: "),
        (["fit", "-c", "config.yaml", "--ckpt_path=http://127.0.0.1/x.ckpt"], "read from local files only"),
        (
            ["test", "-c", "config.yaml"],
            "no checkpoint to evaluate. Give a checkpoint or the folder of a run with --ckpt_path",
        ),
        (["fit", "-c", "config.yaml", "--checkpoints.monitor=val/los"], "Choose one of val/loss, "),
        (["fit", "-c", "config.yaml", "--trainer.devices=0"], "is not a valid input"),
        (["fit", "-c", "config.yaml", "--trainer.precision=64-mixed"], "precision"),
    ],
)
def test_invalid_input_gives_one_clear_message(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("beer")
    (tmp_path / "latin1.txt").write_bytes("good\nbi\xe8re\n".encode("latin-1"))
    (tmp_path / "bad.jsonl").write_text('{"text": "good"}\n{"text": "bad}\n')
    (tmp_path / "columns.jsonl").write_text('{"id": 1, "body": "text"}\n')
    (tmp_path / "typo.yaml").write_text(CONFIG.replace("batch_size", "batchsize"))
    (tmp_path / "typo2.yaml").write_text(CONFIG.replace("experiment", "experimnt"))
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) <= 5
    assert "Traceback" not in err
    assert not list(tmp_path.glob("logs/*/*/checkpoints/*.ckpt"))
    if message != "Choose one of val/loss, ":
        assert not list(tmp_path.glob("logs/*/version_*/events*"))


def test_a_worker_process_reports_damaged_data(run: Run, tmp_path: Path) -> None:
    fit(run, "--trainer.max_steps=1")
    for shard in (tmp_path / "cache" / "tokens").glob("*/*.tokens"):
        damaged = bytearray(shard.read_bytes())
        damaged[4100] ^= 1
        shard.write_bytes(damaged)
    code, _, err = run("fit", "-c", "config.yaml", "--data.num_workers=1")
    assert code == 2
    assert "damaged near token 0" in err
    assert len(err.strip().splitlines()) == 1


def test_missing_test_data_is_refused(run: Run) -> None:
    fit(run)
    code, _, err = run("test", "-c", "config.yaml", "--ckpt_path=logs/beer/version_0", "--data.test=null")
    assert code == 2
    assert "there is no test data; set it with --data.test=FILE" in err


def test_a_run_without_logger_and_checkpoints_has_a_folder(run: Run, tmp_path: Path) -> None:
    before = (tmp_path / "config.yaml").read_text()
    fit(run, "--trainer.logger=false", "--trainer.enable_checkpointing=false")
    assert (tmp_path / "config.yaml").read_text() == before
    names = {path.name for path in tmp_path.glob("logs/beer/version_0/[!.]*")}
    assert names == {"config.yaml", "history.jsonl", "report.json", "report.html"}


@pytest.mark.parametrize(("flag", "name"), [("--model.help", "CausalLM"), ("--data.help", "LanguageModeling")])
def test_the_help_of_a_class(run: Run, flag: str, name: str) -> None:
    code, out, err = run("fit", flag, name)
    assert code == 0, err
    assert name in out


def test_null_in_a_flag_replaces_the_value_of_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("model: {init_args: {schedule: {kind: wsd, decay_steps: 3}}}")
    flags = ("--model.schedule.decay_steps=null", "--model.init_args.schedule.decay_ratio=0.5")
    code, out, err = run("fit", "-c", "config.yaml", "-c", "more.yaml", *flags, "--print_config")
    assert code == 0, err
    schedule = yaml.safe_load(out)["model"]["init_args"]["schedule"]
    assert [schedule[name] for name in ("kind", "decay_steps", "decay_ratio")] == ["wsd", None, 0.5]


def test_training_without_validation(run: Run, tmp_path: Path) -> None:
    fit(run, "--data.validation=null")
    checkpoints = tmp_path.glob("logs/beer/version_0/checkpoints/*")
    assert {path.name for path in checkpoints} == {"manifest.json", "step_4.ckpt"}


class OtherTask(tasks.CausalLM):
    """A task outside of this project."""


def test_a_checkpoint_of_another_task_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(run)
    monkeypatch.setattr(tasks, "OtherTask", OtherTask, raising=False)
    path = tmp_path / "logs/beer/version_0/checkpoints/step_4.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["task"] = "OtherTask"
    path = tmp_path / "other.ckpt"
    torch.save(checkpoint, path)
    code, _, err = run("fit", "-c", "config.yaml", f"--ckpt_path={path}", "--allow_import=tests")
    assert code == 2
    assert "holds a OtherTask, but the configuration is for a CausalLM. Give a configuration for a Other" in err


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_truncated_checkpoint_is_refused(run: Run, tmp_path: Path, size: int) -> None:
    fit(run)
    path = tmp_path / "logs/beer/version_0/checkpoints/step_4.ckpt"
    path.write_bytes(path.read_bytes()[:size])
    for arguments in (["fit", "-c", "config.yaml", f"--ckpt_path={path}"], ["generate", str(path)]):
        code, _, err = run(*arguments)
        assert code == 2
        assert f"{path}: damaged: it has {size:,} bytes" in err


def test_print_config_merges_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("trainer: {max_steps: 7}\n")
    code, out, err = run("fit", "-c", "config.yaml", "-c", "more.yaml", "--print_config")
    assert code == 0, err
    config = yaml.safe_load(out)
    assert config["trainer"]["max_steps"] == 7
    assert config["trainer"]["val_check_interval"] == 2
    assert config["model"]["class_path"] == "gpt_lightning.CausalLM"
