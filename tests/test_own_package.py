"""User-defined package from ``docs/extending.md``, used through every command and the Python API."""

import json
import multiprocessing
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.recipes import recipes
from tests.reliability.processes import Run

ROOT = Path(__file__).parents[1]
HEAD, DATA = (recipes()[f"A {part} in your own package"] for part in ("task head", "data module"))
ALLOW = "--allow_import my_package"
TRACE = '\nfrom pathlib import Path\n\nPath("imported.txt").touch()\n'
"""Code for the package that leaves a file when it is imported."""

STARS = [{"text": f"{'good ' * stars}{number}", "label": str(stars)} for number in range(8) for stars in (1, 2, 3)]
PAIRS = [
    {"premise": f"{number} birds sing", "hypothesis": f"{kind} bird sings", "label": "yes" if kind == "a" else "no"}
    for number in range(8)
    for kind in ("a", "no")
]
ROWS = {"stars": STARS, "pairs": PAIRS, "both": PAIRS}
"""Rows for a user-defined head (stars), a user-defined data module (pairs), and both together."""

COMMANDS = {
    "stars": HEAD.commands,
    "pairs": DATA.commands,
    "both": [command.replace("pairs", "both").replace("text_both", "text_pairs") for command in DATA.commands],
}
ALL = pytest.mark.parametrize("name", ROWS)


def prepare(folder: Path, name: str) -> None:
    """Write the package, the rows and the configuration to ``folder``."""
    for recipe in (HEAD, DATA):
        for edit in recipe.edits:
            file = folder / edit.path
            file.parent.mkdir(exist_ok=True)
            file.write_text(edit.text or source(edit.anchor))
    init = folder / "my_package/__init__.py"
    init.write_text(init.read_text() + TRACE)
    stars, pairs = (yaml.safe_load((folder / f"{each}.yaml").read_text()) for each in ("stars", "pairs"))
    (folder / "both.yaml").write_text(yaml.safe_dump({**pairs, "experiment": "both", "model": stars["model"]}))
    rows = "".join(json.dumps(row) + "\n" for row in ROWS[name])
    for each in ROWS:
        (folder / f"{each}.jsonl").write_text(rows)


def source(path: str) -> str:
    """Return the text of a file that another recipe creates."""
    (text,) = (edit.text for recipe in recipes().values() for edit in recipe.edits if edit.path == path)
    return text


def call(folder: Path, command: str) -> tuple[int, str]:
    """Run a command in a separate process, and return its exit code and output."""
    words = shlex.split(command)
    assert words[0] == "gpt-lightning"
    run = Run(folder, *words[2:], command=words[1], config="")
    code = run.end()
    output = run.out.read_text() + run.err.read_text()
    run.out.unlink()
    run.err.unlink()
    return code, output


def succeed(folder: Path, command: str) -> str:
    code, output = call(folder, command)
    assert code == 0, f"{command}\n{output}"
    return output


def predictions(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def in_process(target: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a separate process, which has not imported the user-defined package."""
    process = multiprocessing.get_context("forkserver").Process(target=target, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode == 0


@ALL
def test_every_command(tmp_path: Path, name: str) -> None:
    prepare(tmp_path, name)
    commands = [command for command in COMMANDS[name] if "verify-resume" not in command]
    assert len(commands) == 7
    for command in commands:
        output = succeed(tmp_path, command)
        if " test " in command or " evaluate " in command:
            assert "accuracy" in output
        if " export " in command and name != "pairs":
            assert "only gpt-lightning can read this folder: Hugging Face has no head for this task" in output
    expected = predictions(tmp_path / "predictions.jsonl")
    assert [row["id"] for row in expected] == [str(number) for number in range(len(ROWS[name]))]
    assert predictions(tmp_path / "again.jsonl") == expected
    options = f"--ckpt_path logs/{name}/version_0 --predictions.path third.jsonl {ALLOW}"
    succeed(tmp_path, f"gpt-lightning predict -c {name}.yaml {options}")
    assert predictions(tmp_path / "third.jsonl") == expected
    in_process(use_from_python, tmp_path, name, expected)


def use_from_python(folder: Path, name: str, expected: list[dict[str, Any]]) -> None:
    """Load the run and the exported folder, predict and save."""
    os.chdir(folder)
    sys.path.append(str(folder))
    import gpt_lightning as gl
    from gpt_lightning.errors import InputError

    run, exported = f"logs/{name}/version_0", f"{name}_model"
    if name != "pairs":
        with pytest.raises(InputError, match="If you trust its code, add --allow_import my_package"):
            gl.load(run)
        assert "my_package" not in sys.modules
    model = gl.load(run, allow_import=["my_package"])
    assert model.predict(ROWS[name]) == expected
    model.save("saved")
    for path in (exported, "saved"):
        model = gl.load(path, allow_import=["my_package"])
        if name != "stars":  # a model folder does not name its data module
            from my_package.text_pairs import TextPairs  # type: ignore[import-not-found]

            model.data_module = TextPairs
        assert model.predict(ROWS[name]) == expected
    assert type(gl.load(run).task) is type(model.task)  # an imported class needs no permission


@ALL
def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, name: str) -> None:
    states = []
    for is_killed in (False, True):
        folder = tmp_path / f"{is_killed}"
        folder.mkdir()
        prepare(folder, name)
        command = f"{COMMANDS[name][0]} --trainer.max_steps 60 --trainer.enable_progress_bar false"
        run = folder / f"logs/{name}/version_0"
        if is_killed:
            words = shlex.split(command)
            process = Run(folder, *words[2:], command=words[1], config="")
            assert process.wait_for(lambda run=run: (run / "checkpoints/step_6.ckpt").exists())  # type: ignore[misc]
            process.kill()
            assert process.process.exitcode == -9
        output = succeed(folder, command)
        assert ("resumed from" in output) == is_killed
        states.append(torch.load(run / "checkpoints/step_60.ckpt", weights_only=True))
    uninterrupted, resumed = states
    assert resumed["global_step"] == 60
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(resumed[part], uninterrupted[part], rtol=0.0, atol=0.0)


@pytest.mark.slow
def test_verify_resume(tmp_path: Path) -> None:
    prepare(tmp_path, "stars")
    (command,) = (command for command in HEAD.commands if "verify-resume" in command)
    assert "rows, random numbers, weights and optimizer are equal, bit for bit" in succeed(tmp_path, command)


@ALL
def test_package_is_not_imported_without_permission(tmp_path: Path, name: str) -> None:
    prepare(tmp_path, name)
    commands = [command for command in COMMANDS[name] if "verify-resume" not in command]
    for command in commands:
        (tmp_path / "imported.txt").unlink(missing_ok=True)
        code, output = call(tmp_path, command.replace(ALLOW, ""))
        assert not (tmp_path / "imported.txt").exists(), command
        if " export " in command and name == "pairs":
            assert code == 0  # export needs only the head, which is ours
            continue
        assert code == 2, f"{command}\n{output}"
        assert ALLOW in output, f"{command}\n{output}"
        succeed(tmp_path, command)


def test_module_in_the_working_directory(tmp_path: Path) -> None:
    prepare(tmp_path, "stars")
    (tmp_path / "my_heads.py").write_text(source(HEAD.edits[1].anchor))
    config = (tmp_path / "stars.yaml").read_text().replace("my_package.ordinal_classification", "my_heads")
    (tmp_path / "stars.yaml").write_text(config)
    for command in HEAD.commands[:4]:
        succeed(tmp_path, command.replace("my_package", "my_heads"))
    assert len(predictions(tmp_path / "predictions.jsonl")) == len(STARS)
