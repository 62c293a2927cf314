"""Commands that are printed to be pasted: after ``fit``, and after an interruption."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt_lightning.commands import shell
from tests.commands.run.test_cli import CONFIG, Run, fit, run
from tests.heads import CommandLine
from tests.reliability.processes import steps

__all__ = ["run"]


@pytest.fixture
def heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def printed(out: str) -> list[str]:
    """Return the commands below ``Next steps``."""
    return [line.strip() for line in out.partition("Next steps:\n")[2].splitlines() if line.startswith("  ")]


def pasted(line: str) -> list[str]:
    """Return the arguments that a line of a shell gives to ``gpt-lightning``."""
    words, program = shlex.split(line), shell._program()
    assert words[: len(program)] == program
    return words[len(program) :]


def paste(line: str, folder: Path) -> None:
    """Run a line in a shell."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_commands_for_a_language_model_work(run: Run, tmp_path: Path) -> None:
    """The folder of the logs needs quotes."""
    commands = printed(fit(run, "--log_dir=my logs", "--name=first"))
    assert [pasted(line)[0] for line in commands[:3]] == ["test", "generate", "export"]
    for line in commands[:2]:
        assert run(*pasted(line))[0] == 0, line
    paste(commands[2], tmp_path)
    paste(f"{commands[3]} --inspect", tmp_path)  # TensorBoard would not end.
    assert (tmp_path / "my logs/beer/first/metrics.json").is_file()
    assert (tmp_path / "my logs/beer/first/export/model.safetensors").is_file()
    again = fit(run, "--log_dir=my logs", "--ckpt_path=my logs/beer/first", "--trainer.max_steps=6")
    assert not [line for line in printed(again) if " export " in line], "its folder is taken"


def test_commands_for_a_head_work(heads: CommandLine, tmp_path: Path) -> None:
    heads.fit("topics")
    commands = printed(heads.out)
    assert [pasted(line)[0] for line in commands[:-1]] == ["test", "predict", "export"]
    for line in commands[:-1]:
        assert heads(*pasted(line)) == 0, heads.err
    assert list(tmp_path.glob("logs/*/version_0/predictions.jsonl"))


def test_held_out_rows_are_validated_and_training_rows_are_not_predicted(heads: CommandLine) -> None:
    flags = ("--data.validation=null", "--data.test=null")
    heads.fit("topics", *flags, "--data.validation_fraction=0.3")
    commands = printed(heads.out)
    assert [pasted(line)[0] for line in commands[:-1]] == ["validate", "export"]
    assert heads(*pasted(commands[0])) == 0, heads.err
    heads.fit("topics", *flags, "--trainer.limit_val_batches=0")
    assert [pasted(line)[0] for line in printed(heads.out)[:-1]] == ["export"]


def test_nothing_is_suggested_without_a_checkpoint(run: Run) -> None:
    assert "Next steps" not in fit(run, "--trainer.fast_dev_run=2")
    assert "Next steps" not in fit(run, "--trainer.enable_checkpointing=false")


def test_an_interrupted_run_resumes_with_the_printed_command(run: Run, tmp_path: Path) -> None:
    """The original command has a file, a flag with spaces, and a --resume that must not stay."""
    (tmp_path / "my config.yaml").write_text(CONFIG)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "gpt_lightning", "fit", "-c", "my config.yaml", "--log_dir", "my logs"]
    command += ["--trainer.max_steps=200", "--resume", "auto", "--checkpoints.every_n_steps=5", "--allow_import=tests"]
    command += ["--trainer.callbacks+=tests.reliability.processes.SlowSteps"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    folder = tmp_path / "my logs/beer/version_0"
    end = time.monotonic() + 120.0
    while max(steps(folder), default=0) < 5 and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    stopped = steps(folder)[-1]
    assert f"Stopped after step {stopped}. Saved my logs/beer/version_0/checkpoints/step_{stopped}.ckpt" in said
    line = said.splitlines()[-1].strip()
    assert "--resume" not in line
    code, _, err = run(*pasted(line), f"--trainer.max_steps={stopped + 2}")
    assert code == 0, err
    assert steps(folder)[-1] == stopped + 2


def test_the_program_is_named_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gpt-lightning", "python"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "gpt-lightning"), "fit"])
    assert shell.command("fit", "a b") == f"{tmp_path}/gpt-lightning fit 'a b'"
    monkeypatch.setattr(sys, "argv", ["/somewhere/gpt_lightning/__main__.py", "fit"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert shell.command("fit") == f"{tmp_path}/python -m gpt_lightning fit"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shell.command("fit") == "python -m gpt_lightning fit"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "gpt-lightning"), "fit"])
    assert shell.command("fit") == "gpt-lightning fit"
