"""Configurations and runs of a stranger that would run code of an allowed package, or write outside of the run."""

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gpt_lightning.cli import main
from gpt_lightning.commands.guard import config_guard
from gpt_lightning.commands.guard.config_guard import check
from gpt_lightning.commands.guard.file_values import is_contained
from gpt_lightning.errors import InputError
from tests.reliability.conftest import tally
from tests.runs import write_text

pytestmark = pytest.mark.reliability

RUN = "{class_path: torch.utils.collect_env.run, init_args: {command: touch HARM}}"
OPEN = "{class_path: builtins.open, init_args: {file: HARM, mode: w}}"
CONFIG = """\
trainer: {accelerator: cpu, devices: 1, max_steps: 1}
model:
  class_path: CausalLM
  init_args:
    backbone: {n_layer: 1, n_head: 2, n_embd: 16, block_size: 8}
data:
  class_path: LanguageModeling
  init_args: {train: text.txt, test: text.txt, tokenizer: bytes, batch_size: 4, cache_dir: cache}
"""


def spec(slot: str, path: str, arguments: str) -> str:
    """Return a value of the Trainer as YAML: a class with arguments."""
    return f"{slot}: {{class_path: {path}, init_args: {{{arguments}}}}}"


CODE = {
    "a function in a callable slot": spec("callbacks", "LambdaCallback", f"setup: {RUN}"),
    "the name of a function": spec("callbacks", "LambdaCallback", "setup: torch.hub.list"),
    "a callback with a required function": spec("callbacks", "ThroughputMonitor", f"batch_size_fn: {RUN}"),
    "any value of a logger": spec("logger", "MLFlowLogger", f"tags: {{a: {RUN}}}"),
    "any value of a listed logger": spec("logger", "TensorBoardLogger", f"save_dir: logs, comment: {RUN}"),
    "an object of a listed strategy": spec("strategy", "DDPStrategy", f"ddp_comm_state: {RUN}"),
    "a function of a listed strategy": spec("strategy", "DDPStrategy", f"ddp_comm_hook: {OPEN}"),
    "a function in place of a strategy": f"strategy: {RUN}",
    "a function in place of a callback": f"callbacks: [{RUN}]",
    "a profiler": spec("profiler", "PyTorchProfiler", f"table_kwargs: {{a: {RUN}}}"),
    "a plugin": spec("plugins", "AsyncCheckpointIO", f"checkpoint_io: {RUN}"),
    "a class method of a listed class": spec("callbacks", "gpt_lightning.CausalLM.load_from_checkpoint", "path: x"),
    "a function of a module in a module": "callbacks: torch.os.system",
}
"""Values of the Trainer that run code."""
WRITES = {
    "a checkpoint folder": "callbacks: {class_path: ModelCheckpoint, init_args: {dirpath: ../harm}}",
    "our own callback": "callbacks: {class_path: gpt_lightning.training.StepRecord, init_args: {path: ../harm}}",
    "a checkpoint after an error": "callbacks: {class_path: OnExceptionCheckpoint, init_args: {dirpath: ../harm}}",
    "a profile": "profiler: {class_path: SimpleProfiler, init_args: {dirpath: .., filename: harm}}",
    "a logger in the folder above": "logger: {class_path: CSVLogger, init_args: {save_dir: ../harm}}",
    "an absolute folder": "logger: {class_path: TensorBoardLogger, init_args: {save_dir: /tmp/harm}}",
    "the home folder": "logger: {class_path: TensorBoardLogger, init_args: {save_dir: ~/harm}}",
    "a variable": "logger: {class_path: TensorBoardLogger, init_args: {save_dir: $HOME}}",
    "another file system": "logger: {class_path: CSVLogger, init_args: {save_dir: 's3://harm/logs'}}",
    "the name of a run": "logger: [{class_path: CSVLogger, init_args: {save_dir: logs, name: ../../harm}}]",
    "the version of a run": "logger: {class_path: CSVLogger, init_args: {save_dir: logs, version: 0}}",
    "a folder in a run": "logger: {class_path: TensorBoardLogger, init_args: {save_dir: logs, sub_dir: ../../harm}}",
    "the root folder": "default_root_dir: /tmp/harm",
    "an upload": "model_registry: someone/model",
}
"""Values of the Trainer that write outside of the run, or upload it."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a working folder with a text and a harmless configuration."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    write_text(work)
    (work / "config.yaml").write_text(CONFIG)
    yield work
    os.environ.pop("PL_GLOBAL_SEED", None)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the message of a command that must end with 2 and write nothing."""
    before = sorted(Path("..").rglob("*"))
    try:
        code: object = main(arguments)
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    tally("R20", code == 2 and sorted(Path("..").rglob("*")) == before)
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("value", CODE.values(), ids=CODE)
def test_code_of_allowed_packages(capsys: pytest.CaptureFixture[str], command: str, value: str) -> None:
    Path("evil.yaml").write_text(f"experiment: a\ntrainer: {{{value}}}\n")
    err = refused(capsys, command, "-c", "config.yaml", "-c", "evil.yaml")
    assert f"gpt-lightning {command}: evil.yaml:2: trainer." in err
    assert "if you trust its code" in err
    assert "--allow_import" in err


@pytest.mark.parametrize("value", CODE.values(), ids=CODE)
def test_code_in_flags(capsys: pytest.CaptureFixture[str], value: str) -> None:
    key, _, text = value.partition(": ")
    for arguments in ([f"--trainer.{key}={text}"], [f"--trainer.{key}+", text], [f"--config={{trainer: {{{value}}}}}"]):
        assert "--allow_import" in refused(capsys, "fit", "-c", "config.yaml", *arguments, "--print_config")
    Path("value.txt").write_text(text)
    assert "value.txt:1: " in refused(capsys, "fit", "-c", "config.yaml", f"--trainer.{key}", "value.txt")


@pytest.mark.parametrize("value", CODE.values(), ids=CODE)
def test_the_parser_alone_refuses_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(config_guard, "_slot", lambda _: None)
    monkeypatch.setattr(config_guard, "_is_bare_class", lambda *_: False)
    Path("evil.yaml").write_text(f"trainer: {{{value}}}\n")
    err = refused(capsys, "fit", "-c", "config.yaml", "-c", "evil.yaml")
    assert "allow_import" in err


@pytest.mark.parametrize("value", WRITES.values(), ids=WRITES)
def test_paths_outside_of_the_run(capsys: pytest.CaptureFixture[str], value: str) -> None:
    Path("evil.yaml").write_text(f"trainer: {{{value}}}\n")
    err = refused(capsys, "fit", "-c", "config.yaml", "-c", "evil.yaml")
    assert "evil.yaml:1: trainer." in err
    assert "flag" in err or "--allow_import" in err


def test_flags_may_give_any_path() -> None:
    check(["fit", "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=/logs", "--trainer.logger.version=3"])
    check(["fit", "--trainer.default_root_dir", "/logs", "--trainer.logger", "{class_path: CSVLogger}"])


@pytest.mark.parametrize("path", ["logs", "logs/a.b", "", "a/..b", "run 1 (new)"])
def test_contained_paths(path: str) -> None:
    assert is_contained(path)


@pytest.mark.parametrize(
    "path", ["/a", "..", "a/../b", "a\\..\\b", "C:\\a", "C:a", "\\a", "~/a", " ~", "$A/b", "%A%", "s3://a", "a::b"]
)
def test_paths_that_may_lead_elsewhere(path: str) -> None:
    assert not is_contained(path)


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--trainer.callbacks=ModelCheckpoint", "--allow_import lightning.pytorch.callbacks.ModelCheckpoint"),
        ("--trainer.callbacks.help=LambdaCallback", "--allow_import lightning.pytorch.callbacks.LambdaCallback"),
        ("--trainer.callbacks.class_path=EarlyStoping", "did you mean 'EarlyStopping'?"),
        ("--trainer.profiler=SimpleProfiler", "--allow_import lightning.pytorch.profilers.SimpleProfiler"),
        ("--trainer.logger=WandbLogger", "--allow_import lightning.pytorch.loggers.WandbLogger"),
        ("--model=CausalLLM", "did you mean 'CausalLM'?"),
        ("--data.help=LanguageModelling", "did you mean 'LanguageModeling'?"),
        ("--data=MyData", "such as my_package.MyData, and --allow_import my_package"),
        ("--model=torch.nn.Linear", "--allow_import torch.nn.Linear"),
        ("--trainer.callbacks.setup=torch.hub.load", "--allow_import torch.hub.load"),
    ],
)
def test_messages_name_the_flag(capsys: pytest.CaptureFixture[str], flag: str, hint: str) -> None:
    err = refused(capsys, "fit", flag)
    assert f"{flag.partition('=')[0].removesuffix('.help')}" in err
    assert hint in err


def test_listed_classes_work_without_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    Path("ours.yaml").write_text(
        "trainer:\n"
        "  callbacks:\n"
        "    - {class_path: EarlyStopping, init_args: {monitor: train/loss}}\n"
        "    - lightning.pytorch.callbacks.LearningRateMonitor\n"
        "  plugins: [{class_path: lightning.pytorch.plugins.environments.LightningEnvironment}]\n"
        "  strategy: {class_path: SingleDeviceStrategy, init_args: {device: cpu}}\n"
        "  logger:\n"
        "    - {class_path: TensorBoardLogger, init_args: {save_dir: logs}}\n"
        "    - {class_path: CSVLogger, init_args: {save_dir: logs_csv, name: null}}\n"
        "  profiler: simple\n"
    )
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", "config.yaml", "-c", "ours.yaml", "--print_config"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    Path("printed.yaml").write_text(out)
    check(["fit", "-c", "printed.yaml"])


def test_an_allowed_class_or_function_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """Each name of a package of ours needs a flag of its own."""
    names = ("lightning.pytorch.callbacks.LambdaCallback", "gpt_lightning.errors.input_error")
    Path("own.yaml").write_text(f"trainer: {{{spec('callbacks', 'LambdaCallback', f'on_fit_start: {names[1]}')}}}\n")
    both = [f"--allow_import={name}" for name in names]
    for missing, flags in zip(names, ([both[1]], [both[0]]), strict=True):
        assert missing.rpartition(".")[2] in refused(capsys, "fit", "-c", "config.yaml", "-c", "own.yaml", *flags)
    checked = check(["fit", "-c", "config.yaml", "-c", "own.yaml", *both])
    assert checked.own == names


def test_evaluate_uses_only_the_data_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", "config.yaml", "--log_dir=logs"]) == 0, capsys.readouterr().err
    run = Path("logs/default/version_0")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["lm_eval"] = config["samples"] = config["predictions"] = {"path": "../harm"}
    config["model"]["init_args"]["init_from"] = "hub:someone/model"
    config["data"]["init_args"] |= {"cache_dir": "/tmp/harm", "train": "hub:someone/rows"}
    values = (CODE["a function in a callable slot"], CODE["a function in place of a strategy"], "devices: 7")
    config["trainer"] = yaml.safe_load(f"{{{', '.join(values)}}}")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    before = set(Path("..").rglob("*"))
    assert main(["evaluate", str(run)]) == 0, capsys.readouterr().err
    tally("R20", {*Path("..").rglob("*")} - before == {Path("../work") / run / "metrics.json"})
    assert not Path("/tmp/harm").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_path": "torch.utils.collect_env.run"}, "config.yaml:1: data.class_path: torch.utils.collect_env.run"),
        ({"test": "hub:someone/rows"}, "To download it, add --test hub:someone/rows"),
        ({"test": ["a.txt", "hub:someone/rows"]}, "evaluate downloads nothing that only a run names"),
        ({"test": datetime.date(2026, 1, 1)}, "not a run with checkpoints"),
        ({"tokenizer": "hub:someone/model"}, "data.init_args.tokenizer is hub:someone/model"),
        ({"seed": {"class_path": "torch.hub.load"}}, "data.init_args.seed.class_path: torch.hub.load"),
    ],
)
def test_evaluate_refuses_data_of_a_run(
    capsys: pytest.CaptureFixture[str], change: dict[str, object], message: str
) -> None:
    module = {"class_path": change.pop("class_path", "LanguageModeling"), "init_args": {"test": "text.txt", **change}}
    Path("run").mkdir()
    Path("run/config.yaml").write_text(yaml.safe_dump({"data": module}, default_flow_style=True))
    assert message in refused(capsys, "evaluate", "run")


def test_values_of_a_checkpoint_are_limited_too() -> None:
    with pytest.raises(InputError, match="not a class that is allowed here"):
        check(["test", "--model.lora.class_path=torch.utils.collect_env.run"])
