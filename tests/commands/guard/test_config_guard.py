"""Only allowed packages are imported, and everything else is refused at once."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from gpt_lightning.cli import main
from gpt_lightning.commands.guard.config_guard import check
from gpt_lightning.errors import InputError
from tests.reliability.conftest import tally
from tests.runs import write_text

pytestmark = pytest.mark.reliability

ROOT = Path(__file__).parents[3]

CONFIG = """\
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 1
model:
  class_path: CausalLM
  init_args:
    backbone: {n_layer: 1, n_head: 2, n_embd: 16, block_size: 8}
data:
  class_path: LanguageModeling
  init_args: {train: text.txt, tokenizer: bytes, batch_size: 4, cache_dir: cache}
samples: {max_new_tokens: 2}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder with a configuration, a text, and a module that writes a file when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    write_text(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "evilmod.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n"
        "from lightning.pytorch import Callback\nclass X(Callback): pass\n"
    )
    yield tmp_path
    sys.modules.pop("evilmod", None)
    os.environ.pop("PL_GLOBAL_SEED", None)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the message of a command that must be refused before anything is imported."""
    code = main(arguments)
    err = capsys.readouterr().err
    tally("R10", code == 2 and not Path("imported").exists())
    assert len(err.strip().splitlines()) <= 3
    assert "Traceback" not in err
    return err


CLASSES = ("{class_path: evilmod.X}", "{class_path: evilmod.X, init_args: {a: 1}}", "evilmod.X")
TRAINER = ("logger", "callbacks", "strategy", "plugins", "profiler", "accelerator")


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    "text",
    [
        *(f"{part}: {value}" for part in ("model", "data", "trainer") for value in CLASSES),
        *(f"trainer: {{{slot}: {value}}}" for slot in TRAINER for value in CLASSES),
        *(f"trainer: {{{slot}: [{value}]}}" for slot in ("logger", "callbacks", "plugins") for value in CLASSES),
        *(f"trainer: {{strategy: {{class_path: DDPStrategy, init_args: {{accelerator: {v}}}}}}}" for v in CLASSES),
        *(f"model: {{class_path: CausalLM, init_args: {{backbone: {v}}}}}" for v in CLASSES),
        *(f"data: {{class_path: LanguageModeling, init_args: {{train: {v}}}}}" for v in CLASSES[:2]),
        "model: {init_args: {backbone: {n_layer: {_class_path: evilmod.X}}}}",
        "samples: {prompts: [{class_path: evilmod.X}]}",
        "checkpoints: {class_path: evilmod.X}",
        "trainer.logger: evilmod.X",
        "model.class_path: evilmod.X",
        "trainer: {<<: {logger: evilmod.X}}",
        "<<: {model: evilmod.X}",
        "x: &x {class_path: evilmod.X}\nmodel: *x",
        "x: &x evilmod.X\ntrainer: {callbacks: [*x]}",
        'trainer: {logger: \'{"class_\\u0070ath": "evilmod.X"}\'}',
        "trainer: {logger: 'class_path: evilmod.X'}",
        "trainer: {callbacks: '- evilmod.X'}",
        "trainer: {callbacks: '[\"{class_path: evilmod.X}\"]'}",
    ],
)
def test_a_class_in_a_yaml(folder: Path, capsys: pytest.CaptureFixture[str], command: str, text: str) -> None:
    (folder / "evil.yaml").write_text(f"# a comment\n{text}\n")
    err = refused(capsys, command, "-c", "config.yaml", "-c", "evil.yaml")
    assert f"evil.yaml:{2 + text.count(chr(10))}: " in err or "evil.yaml:2: " in err
    assert "evilmod.X would import evilmod" in err
    assert "--allow_import evilmod" in err


@pytest.mark.parametrize(
    "flags",
    [
        *(
            [*flag, value] if len(flag) == 1 else [f"{flag[0]}{flag[1]}{value}"]
            for flag in (
                ("--model",),
                ("--model", "="),
                ("--model.help",),
                ("--data.help", "="),
                ("--data",),
                ("--trainer",),
                ("--trainer.logger", "="),
                ("--trainer.logger",),
                ("--trainer.callbacks+", "="),
                ("--trainer.callbacks+",),
                ("--trainer.strategy.help",),
                ("--trainer.plugins", "="),
            )
            for value in ("evilmod.X", "{class_path: evilmod.X}", '{"class_path": "evilmod.X"}')
        ),
        ["--model.class_path=evilmod.X"],
        ["--trainer.callbacks", "[evilmod.X]"],
        ["--trainer.callbacks", "- evilmod.X"],
        ["--trainer.callbacks.class_path", "evilmod.X"],
        ["--trainer.logger.init_args.experiment=evilmod.X"],
        ["--model.backbone=evilmod.X"],
        ["--config={model: evilmod.X}"],
        ["-c{model: evilmod.X}"],
        ["-c", "evil.yaml"],
        ["-cevil.yaml"],
        ["--config=evil.yaml"],
        ["--model", "evil.txt"],
        ["--trainer", "trainer.json"],
        ["--trainer.logger", "class.yaml"],
        ["--trainer.callbacks", "lines.txt"],
        ["--model.backbone", "configs/class.yaml"],
        ["--data", "class.yaml"],
        ["-c", "configs/names_another.yaml"],
        ["--model.backbone", "evilmod.yaml"],
    ],
)
def test_a_class_in_a_flag(folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    (folder / "configs").mkdir()
    for name, text in {
        "evil.yaml": "model: evilmod.X",
        "evil.txt": "{class_path: evilmod.X}",
        "trainer.json": '{"logger": "evilmod.X"}',
        "lines.txt": "{class_path: evilmod.X}\n{class_path: evilmod.X}",
        "class.yaml": "class_path: evilmod.X",
        "configs/class.yaml": "class_path: evilmod.X",
        "configs/neighbor.yaml": "class_path: evilmod.X",
        "configs/names_another.yaml": "model: {init_args: {backbone: neighbor.yaml}}",
        "evilmod.yaml": "n_layer: 1",  # the parser would import the module before it looks for the file
    }.items():
        (folder / name).write_text(text)
    err = refused(capsys, "fit", "-c", "config.yaml", *flags)
    assert "would import evilmod" in err
    assert "--allow_import evilmod" in err
    (name, *_) = flags[0].partition("=")
    assert any(where in err for where in (f" {name.removesuffix('+')}: ", "--config: ", "yaml:1: ", "json:1: ", "txt:"))


def test_an_allowed_package_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("fit", "-c", "config.yaml", "--trainer.callbacks=evilmod.X", "--trainer.logger=false")
    assert "--allow_import evilmod" in refused(capsys, *arguments)
    assert main([*arguments, "--allow_import", "evilmod"]) == 0, capsys.readouterr().err
    assert Path("imported").exists()
    Path("imported").unlink()
    del sys.modules["evilmod"]
    refused(capsys, *arguments)


def test_the_parser_refuses_what_the_guard_has_missed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt_lightning.commands.guard import config_guard

    # A new name, because the names that other tests have allowed are denied afterwards.
    (folder / "evilmod.py").rename(folder / "hiddenmod.py")
    # Make the guard recognize no class.
    monkeypatch.setattr(config_guard, "_slot", lambda _: None)
    monkeypatch.setattr(config_guard, "_is_bare_class", lambda *_: False)
    for flags in (
        ["--trainer.callbacks=hiddenmod.X"],
        ["--trainer.logger={class_path: hiddenmod.X}"],
        ["--model=hiddenmod.X"],
        ["--model.backbone=hiddenmod.X"],
        ["--data.help=hiddenmod.X"],
        ["--trainer.plugins=[hiddenmod.X]"],
        ["--trainer.callbacks={class_path: LambdaCallback, init_args: {setup: os.system}}"],
        ["--trainer.callbacks={class_path: LambdaCallback, init_args: {setup: torch.os.system}}"],
        ["--trainer.callbacks={class_path: LambdaCallback, init_args: {setup: subprocess.Popen}}"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(["fit", "-c", "config.yaml", *flags])
        err = capsys.readouterr().err
        assert stop.value.code == 2
        assert "if you trust its code" in err, (flags, err)
        assert not (folder / "imported").exists()


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.eval", "functools.partial"])
def test_functions_of_the_standard_library_are_refused(capsys: pytest.CaptureFixture[str], name: str) -> None:
    callback = f"{{class_path: EarlyStopping, init_args: {{monitor: {name}}}}}"
    assert f"{name} would import" in refused(capsys, "fit", f"--trainer.callbacks={callback}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--allow_import=[evilmod, other]"],
        ["--allow_import", "other", "--allow_import", "evilmod"],
        ["--allow_import+=evilmod"],
        ["--allow_import=evilmod.X"],
    ],
)
def test_forms_of_allow_import(arguments: list[str]) -> None:
    checked = check(["fit", "--model=evilmod.X", *arguments, "--trainer.devices", "1"])
    assert checked.arguments == ["fit", "--model=evilmod.X", "--trainer.devices", "1"]
    assert set(checked.own) <= {"evilmod", "evilmod.X", "other"}


@pytest.mark.parametrize("value", ["", "*", "jsonargparse", "a b", "../x", "other"])
def test_invalid_forms_of_allow_import(value: str) -> None:
    with pytest.raises(InputError, match="--allow_import"):
        check(["fit", "--model=evilmod.X", f"--allow_import={value}"])
    with pytest.raises(InputError, match="has no value"):
        check(["fit", "--model=CausalLM", "--allow_import"])


def test_a_yaml_cannot_allow_imports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "evil.yaml").write_text("experiment: x\nallow_import: evilmod\nmodel: evilmod.X\n")
    assert "evil.yaml:2: " in refused(capsys, "fit", "-c", "evil.yaml")
    assert "command line only" in refused(capsys, "fit", "--config={allow_import: [evilmod]}")


def bomb(levels: int = 30, width: int = 10) -> str:
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


HOSTILE = {
    "bomb": (bomb(), "evil.yaml:5: ", "more than 100,000 values"),
    "merged": ("x: &x {a: 1}\n" + bomb().replace("[", "{<<: [").replace("]", "]}"), "evil.yaml:", ""),
    "recursive": ("a: 1\nb: &b [*b]\n", "evil.yaml:2: ", "contains itself"),
    "deep": ("[" * 300_000 + "]" * 300_000, "evil.yaml:1: ", "nested more than 50 levels deep"),
    "deep mapping": (
        "".join(" " * n + "a:\n" for n in range(1000)),
        "evil.yaml:51: ",
        "nested more than 50 levels deep",
    ),
    "open": ("a:\n" + "[" * 200_000, "evil.yaml:2: ", "not YAML"),
    "large": ("a: " + "x" * 2_000_000, "evil.yaml: ", "larger than"),
    "many": ("a: [" + "1," * 300_000 + "1]", "evil.yaml:1: ", "more than 100,000 values"),
    "python tag": ("a: 1\nb: !!python/object/apply:os.system [touch imported]\n", "evil.yaml:2: ", "!!python"),
    "own tag": ("a: 1\nb: !evil x\n", "evil.yaml:2: ", "the tag !evil"),
    "hidden tag": ("%TAG ! tag:yaml.org,2002:python/\n---\nb: !name:os.system x\n", "evil.yaml:3: ", "!!python"),
    "binary": ("b: !!binary aGk=\n", "evil.yaml:1: ", "!!binary"),
    "twice": (
        "trainer:\n  devices: 1\n  max_steps: 1\n  devices: 2\n",
        "evil.yaml:4: ",
        "key 'devices' (first on line 2)",
    ),
    "twice quoted": ("model: x\n'model': evilmod.X\n", "evil.yaml:2: ", "duplicate key 'model' (first on line 1)"),
    "syntax": ("trainer:\n  devices: [1\n  max_steps: 1\n", "evil.yaml:3: ", "not YAML"),
    "tab": ("trainer:\n\tdevices: 1\n", "evil.yaml:2: ", "not YAML: indented with a tab"),
    "two documents": ("a: 1\n---\nb: 1\n", "evil.yaml:2: ", "not YAML"),
    "no anchor": ("a: 1\nb: *c\n", "evil.yaml:2: ", "not YAML"),
    "key": ("? [a, b]\n: 1\n", "evil.yaml:1: ", "the key is a list or a mapping"),
    "zero": ("a: \0\n", "evil.yaml:1: ", "not YAML"),
    "empty": ("\n", "evil.yaml: ", "the file is empty"),
    "itself": ("trainer: evil.yaml\n", "evil.yaml:1: ", "contains itself"),
}


@pytest.mark.parametrize(("text", "where", "what"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file(folder: Path, capsys: pytest.CaptureFixture[str], text: str, where: str, what: str) -> None:
    (folder / "evil.yaml").write_text(text)
    started = time.process_time()
    for arguments in (["-c", "config.yaml", "-c", "evil.yaml"], ["--trainer", "evil.yaml"]):
        err = refused(capsys, "fit", *arguments)
        assert where in err
        assert what in err
    assert time.process_time() - started < 1.5, "both commands together"


def test_a_file_in_another_encoding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "evil.yaml").write_bytes(b"a: 1\nb: \xe8\n")
    assert "evil.yaml:2: not UTF-8" in refused(capsys, "fit", "-c", "evil.yaml")


@pytest.mark.parametrize("value", ["2020-99-99", "!!int 1x", "!!timestamp 1", "!!float y", "9" * 5000])
def test_a_scalar_that_is_not_of_its_type(folder: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    (folder / "evil.yaml").write_text(f"experiment: a\nname: {value}\n")
    err = refused(capsys, "fit", "-c", "evil.yaml")
    assert "evil.yaml:2: " in err
    assert "is not a valid" in err


def test_a_configuration_must_be_a_regular_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")
    assert "pipe is not a regular file" in refused(capsys, "fit", "-c", "pipe")
    assert "is a folder. Give a file, such as" in refused(capsys, "fit", "-c", str(folder))


@pytest.mark.parametrize("key", ["model.optimizer", "data.layout", "samples", "predictions", "trainer.callbacks"])
def test_no_value_is_read_from_a_pipe(folder: Path, capsys: pytest.CaptureFixture[str], key: str) -> None:
    """The parser would wait for a writer."""
    os.mkfifo(folder / "pipe")
    assert "pipe is not a regular file" in refused(capsys, "fit", f"--{key}=pipe")
    nested = "pipe"
    for name in reversed(key.split(".")):
        nested = f"{{{name}: {nested}}}"
    (folder / "evil.yaml").write_text(nested)
    assert "evil.yaml:1: pipe is not a regular file" in refused(capsys, "fit", "-c", "evil.yaml")


@pytest.mark.parametrize("flag", ["--trainer.logger", "--model.backbone", "--config", "--samples.prompts"])
@pytest.mark.parametrize(
    "text", [bomb(), bomb().replace("\n", ", ").join("{}"), "[" * 50_000, "&a [*a]", "!!python/name:os.system x: 1"]
)
def test_a_hostile_flag(capsys: pytest.CaptureFixture[str], flag: str, text: str) -> None:
    assert f"{flag}: " in refused(capsys, "fit", f"{flag}={text}")


def test_a_checkpoint_that_names_a_class_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hyper_parameters = {"task": "CausalLM", "_class_path": "evilmod.X", "_instantiator": "evilmod.X"}
    (folder / "run" / "checkpoints").mkdir(parents=True)
    for path in ("evil.ckpt", "run/checkpoints/last.ckpt"):
        torch.save({"hyper_parameters": hyper_parameters, "state_dict": {}}, path)
    for arguments in (
        ["fit", "-c", "config.yaml", "--ckpt_path=evil.ckpt"],
        ["test", "--ckpt_path", "evil.ckpt"],
        ["predict", "--config={ckpt_path: evil.ckpt}"],
        ["fit", "-c", "config.yaml", "--model.init_from", "run"],
        ["validate", "--ckpt_path=run"],
    ):
        assert "the key _class_path, which could run any code" in refused(capsys, *arguments)


def test_evaluate_refuses_a_run_that_names_a_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text("data:\n  class_path: evilmod.X\n  init_args: {}\n")
    assert "run/config.yaml:2: data.class_path: evilmod.X would import" in refused(capsys, "evaluate", "run")


@pytest.mark.parametrize(
    "flags",
    [
        ["--model=CausalLM", "--data=gpt_lightning.data.LanguageModeling"],
        ["--model.help=CausalLM"],
        ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=logs"],
        ["--trainer.callbacks+=lightning.pytorch.callbacks.Timer", "--trainer.callbacks.duration", "00:01:00:00"],
        ["--trainer.callbacks={class_path: EarlyStopping, init_args: {monitor: val.loss}}"],
        ["--trainer.default_root_dir=os.path", "--trainer.gradient_clip_val", "1.5", "--trainer.limit_val_batches=-1"],
        ["--data.train=test.csv", "--data.text_column", "evilmod.X", "--ckpt_path=test.csv", "--model.init_from=x.pt"],
        ["--samples.prompts", '["Q: a\\nQ: b", "evilmod.X", "[[["]', "--experiment", "evilmod.X", "--log_dir=a: {"],
        ["--samples.prompts", '["~absent"]', "--experiment", "~11,700 years ago"],
        ["--data.labels=[a.b, '!x', '& y', '* z']", "--model.class_weights={os.path: 2.0}"],
        ["--model.optimizer.lr", "1e-3", "--data.text_column=\udcff", "--log_dir=" + "x" * 5000],
    ],
)
def test_values_that_need_no_allow_import(folder: Path, flags: list[str]) -> None:
    (folder / "test.csv").write_text("text\nclass_path: evilmod.X\n")
    check(["fit", "-c", "config.yaml", *flags])


def test_rows_to_predict_are_no_configuration(folder: Path) -> None:
    (folder / "rows.json").write_text('{"class_path": "evilmod.X", "text": "~11,700 years ago"}')
    check(["predict", "--model", "logs/run/version_0", "--input", "rows.json", "--output", "rows.json"])


def test_the_name_of_a_local_file_is_not_a_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "small_llama.yaml").write_text("{n_layer: 1, n_head: 2, n_embd: 16, block_size: 8}")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", "config.yaml", "--model.backbone", "small_llama.yaml", "--print_config"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    assert yaml.safe_load(out)["model"]["init_args"]["backbone"]["n_layer"] == 1


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_pass(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for backbone in sorted((ROOT / "configs" / "backbone").glob("*.yaml")):
        checked = check(["fit", "-c", str(path), "--model.backbone", str(backbone)])
        assert (checked.own, checked.harmless) == ((), ())


def test_the_configuration_of_a_run_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", "config.yaml", "--allow_import=evilmod", "--trainer.callbacks=evilmod.X"]) == 0
    written = folder / "logs" / "default" / "version_0" / "config.yaml"
    assert "allow_import" not in written.read_text()
    (folder / "imported").unlink()
    assert f"{written}:" in refused(capsys, "fit", "-c", str(written))
    assert check(["fit", "-c", str(written), "--allow_import=evilmod"]).own == ("evilmod",)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "-c", "config.yaml", "--trainer.logger=evilmod.X"],
        ["predict", "-c", "evil.yaml"],
        ["fit", "-c", "bomb.yaml"],
        ["fit", "-c", "deep.yaml"],
        ["test", "--ckpt_path=evil.ckpt"],
    ],
)
def test_hostile_input_is_refused_within_two_seconds(folder: Path, arguments: list[str]) -> None:
    (folder / "evil.yaml").write_text("model: {class_path: evilmod.X}\n")
    (folder / "bomb.yaml").write_text(bomb(1000, 50))
    (folder / "deep.yaml").write_text(HOSTILE["deep"][0])
    torch.save({"hyper_parameters": {"_class_path": "evilmod.X"}, "state_dict": {}}, "evil.ckpt")
    started = time.perf_counter()
    command = [sys.executable, "-m", "gpt_lightning", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    seconds = time.perf_counter() - started
    assert result.returncode == 2
    assert not (folder / "imported").exists()
    assert "Traceback" not in result.stderr
    assert seconds < 2, f"{seconds:.2f} s"
