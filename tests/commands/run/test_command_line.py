"""Files and flags as values with an origin, and classes of the user's own."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_lightning.checkpoints.read import find_checkpoint, read_checkpoint
from gpt_lightning.commands.run.cli import CLI
from gpt_lightning.commands.run.command_line import read_predict_shorthand
from gpt_lightning.commands.run.value_layers import Origin, Values
from gpt_lightning.errors import InputError
from tests.commands.run.test_cli import CONFIG, Run, fit, run

__all__ = ["run"]


class Reading(CLI):
    """CLI that stops after reading the values of files and flags."""

    def __init__(self, *arguments: str) -> None:
        self.read: Values = {}
        with pytest.raises(InterruptedError):
            super().__init__(["fit", *arguments], {"experiment": "mine"})

    def _merge_checkpoint(self, saved: Any, user: Values, subcommand: str) -> Values:
        assert (saved, subcommand) == (None, "fit")
        self.read = user
        raise InterruptedError


@pytest.mark.usefixtures("run")
def test_each_value_has_its_origin(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("model: {init_args: {optimizer: {lr: 0.02}, backbone: {n_layer: 1}}}")
    found = Reading(
        "--model.init_args.backbone.n_head=2",  # the same value as in the file, but from a flag
        *("-c", "config.yaml", "--model.backbone={n_embd: 32, block_size: 8}", "--config=more.yaml"),
    ).read
    origins = {key.rpartition(".")[2]: value.origin for key, value in found.items() if key != "data.class_path"}
    assert origins["class_path"] == origins["n_layer"] == origins["max_steps"] == Origin("file", "config.yaml")
    assert origins["lr"] == Origin("file", "more.yaml")
    assert origins["n_head"] == Origin("flag", "--model.init_args.backbone.n_head")
    assert origins["n_embd"] == Origin("flag", "--model.backbone")
    assert origins["block_size"] == Origin("file", "config.yaml"), (
        "a group that a flag gives has values of the file too"
    )
    assert origins["experiment"] == Origin("flag", "--experiment")
    assert found["experiment"].value == "mine"
    assert "config" not in found


def test_flags_win_over_files_in_any_order(run: Run) -> None:
    flags = ("--trainer.max_steps=9", "--data.batch_size=2", "--model.backbone.n_layer=3")
    code, out, err = run("fit", *flags, "-c", "config.yaml", "--print_config")
    assert code == 0, err
    config = yaml.safe_load(out)
    assert config["trainer"]["max_steps"] == 9
    assert config["data"]["init_args"]["batch_size"] == 2
    assert config["model"]["init_args"]["backbone"]["n_layer"] == 3


def test_a_flag_appends_to_a_list_in_a_file(run: Run, tmp_path: Path) -> None:
    monitor = "trainer: {callbacks: [lightning.pytorch.callbacks.LearningRateMonitor]}"
    (tmp_path / "more.yaml").write_text(monitor)
    flag = "--trainer.callbacks+=lightning.pytorch.callbacks.DeviceStatsMonitor"
    code, out, err = run("fit", flag, "-c", "config.yaml", "-c", "more.yaml", "--print_config")
    assert code == 0, err
    names = [each["class_path"].rpartition(".")[2] for each in yaml.safe_load(out)["trainer"]["callbacks"]]
    assert names == ["LearningRateMonitor", "DeviceStatsMonitor"]


@pytest.mark.parametrize("flag", ["--model.init_args.backbone.n_layer=2", "--model.backbone={n_layer: 2}"])
def test_another_shape_is_refused_in_every_form_of_the_flag(run: Run, flag: str) -> None:
    fit(run)
    code, _, err = run("test", "-c", "config.yaml", "--ckpt_path=logs/beer/version_0", flag)
    assert code == 2
    assert "model.backbone.n_layer=2, but logs/beer/version_0/checkpoints/step_" in err


def test_the_classes_come_from_the_checkpoint_if_a_file_names_none(run: Run, tmp_path: Path) -> None:
    fit(run)
    (tmp_path / "rows.yaml").write_text("data: {init_args: {test: text.txt, cache_dir: cache}}")
    code, out, err = run("test", "-c", "rows.yaml", "--ckpt_path=logs/beer/version_0")
    assert code == 0, err
    assert "test/loss" in out


OWN = '''
"""A task and a data module of the user's own, which declare no links."""

import lightning.pytorch as L
from gpt_lightning.data import LanguageModeling
from gpt_lightning.tasks import CausalLM


class Mine(CausalLM):
    def __init__(self, scale: float, vocab_size: int | None = None, **settings) -> None:
        assert vocab_size == {vocab_size}
        super().__init__(vocab_size=vocab_size, **settings)


class Rows(L.LightningDataModule):
    def __init__(self, train: str) -> None:
        super().__init__()
        self.rows = LanguageModeling(train=train, tokenizer="characters", block_size=8, batch_size=2, cache_dir="cache")

    def setup(self, stage: str) -> None:
        self.rows.trainer = self.trainer
        self.rows.setup(stage)

    def train_dataloader(self):
        return self.rows.train_dataloader()

    def val_dataloader(self):
        return []
'''


@pytest.mark.parametrize(
    ("package", "data", "vocab_size"), [("own", "own.Rows", None), ("own2", "LanguageModeling", 21)]
)
def test_classes_of_the_users_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, data: str, vocab_size: int | None
) -> None:
    """A flag gives a required argument, and the data gives the size of the vocabulary if it has one."""
    (tmp_path / f"{package}.py").write_text(OWN.replace("{vocab_size}", repr(vocab_size)))
    monkeypatch.syspath_prepend(tmp_path)
    arguments: dict[str, Any] = {"train": "text.txt"}
    if data != "own.Rows":
        arguments |= {"tokenizer": "characters", "batch_size": 2, "cache_dir": "cache"}
    config = yaml.safe_load(CONFIG)
    config["model"]["class_path"] = f"{package}.Mine"
    config["model"]["init_args"]["backbone"]["vocab_size"] = 21
    config["data"] = {"class_path": data, "init_args": arguments}
    (tmp_path / "own.yaml").write_text(json.dumps(config))
    flags = ("-c", "own.yaml", f"--allow_import={package}")
    code, out, err = run("fit", *flags, "--model.scale=2", "--print_config")
    assert code == 0, err
    assert yaml.safe_load(out)["model"]["init_args"]["scale"] == 2.0
    code, _, err = run("fit", *flags, "--model.scale=2")
    assert code == 0, err
    code, out, err = run("fit", *flags, "--resume=auto", "--trainer.max_steps=6")
    assert code == 0, err
    assert "from the checkpoint: model.scale=2.0" in out
    assert "class_path" not in out, "the class of the data is not a difference"
    assert read_checkpoint(find_checkpoint("logs/beer/version_0", "last"))["global_step"] == 6
    if data != "own.Rows":
        run_alone = ("--ckpt_path=logs/beer/version_0", f"--allow_import={package}", "--data.test=text.txt")
        code, out, err = run("test", *run_alone, "--data.cache_dir=cache")
        assert code == 0, err
        assert "test/loss" in out


def test_the_processes_of_other_devices_read_the_copy_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["predict", "--model", "m", "--input", "-"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\n')))
    with contextlib.ExitStack() as first, contextlib.ExitStack() as other:
        _, given = read_predict_shorthand(arguments, first)
        assert Path(given["data.test"]).read_bytes() == b'{"text": "a"}\n'
        # Another process inherits the environment, and finds nothing on standard input.
        assert read_predict_shorthand(arguments, other) == (["predict"], given)
        other.close()
        assert Path(given["data.test"]).exists()
    assert not Path(given["data.test"]).exists()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with contextlib.ExitStack() as stack, pytest.raises(InputError, match="cannot be shared by processes of a launch"):
        read_predict_shorthand(arguments, stack)
