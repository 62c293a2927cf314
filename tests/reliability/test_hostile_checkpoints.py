"""Hostile checkpoints, whose code must never run."""

import contextlib
import http.server
import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.checkpoints.manifest import Entry, Manifest, entry_of, notice
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.conftest import tally

__all__ = ["run"]

pytestmark = pytest.mark.reliability


class Touch:
    """Payload that creates a file when it is unpickled, by a function of the standard library."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


class Execute:
    """Payload that executes source code when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


FORMATS = ["zip", "legacy", "pickle", "protocol0"]
SUFFIXES = [".ckpt", ".pt", ".bin"]


def hostile(path: Path, kind: str, checkpoint: dict[str, Any], payload: object) -> Path:
    """Write a checkpoint that runs ``payload`` when it is unpickled, in one of the formats that torch reads."""
    content = checkpoint | {"callbacks": {"x": payload}}
    if kind == "zip":
        torch.save(content, path)
    elif kind == "legacy":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(payload, protocol=0 if kind == "protocol0" else None))
    return path


def commands(model: str) -> list[list[str]]:
    """Return every command that loads a model."""
    return [
        ["fit", "-c", "config.yaml", f"--ckpt_path={model}"],
        ["fit", "-c", "config.yaml", f"--model.init_from={model}"],
        ["fit", "-c", "config_with_path.yaml"],
        *([command, "-c", "config.yaml", f"--ckpt_path={model}"] for command in ("validate", "test", "predict")),
        ["generate", model],
    ]


@pytest.fixture
def trained(run: Run, tmp_path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of gpt-lightning."""
    fit(run)
    return dict(read_checkpoint(find_checkpoint(str(tmp_path / "logs/beer/version_0"))))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pickled_code_never_runs(run: Run, tmp_path: Path, trained: dict[str, Any], kind: str, suffix: str) -> None:
    """Test R9."""
    for number, payload in enumerate((Touch("ran"), Execute())):
        path = hostile(tmp_path / f"evil{number}{suffix}", kind, trained, payload)
        config_with_path = (tmp_path / "config.yaml").read_text() + f"\nckpt_path: {path}\n"
        (tmp_path / "config_with_path.yaml").write_text(config_with_path)
        for arguments in commands(str(path)):
            code, _, err = run(*arguments)
            assert str(path) in err
            tally("R9", code == 2 and not (tmp_path / "ran").exists())
    # The payload works: a reader that trusts pickle runs it.
    with contextlib.suppress(RuntimeError):  # raised after the payload has run
        torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()


def test_pickled_code_in_a_run_folder_never_runs(run: Run, tmp_path: Path, trained: dict[str, Any]) -> None:
    """Test R9 with a manifest that lists the hostile checkpoint."""
    folder = tmp_path / "logs/beer/version_0"
    path = hostile(folder / "checkpoints/step_9.ckpt", "zip", trained, Touch("ran"))
    Manifest((entry_of(path),), path.name).write(folder / "checkpoints")
    (tmp_path / "config_with_path.yaml").write_text((tmp_path / "config.yaml").read_text() + f"\nckpt_path: {folder}\n")
    (folder / "metrics.json").unlink(missing_ok=True)
    for arguments in [*commands(str(folder)), ["evaluate", str(folder)], ["fit", "-c", "config.yaml", "--resume=auto"]]:
        code, _, _ = run(*arguments)
        tally("R9", code == 2 and not (tmp_path / "ran").exists())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the folder over HTTP on the loopback interface; yield the address and the list of requested paths."""
    requested_paths: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments: Any) -> None:
            requested_paths.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}", requested_paths
        http_server.shutdown()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_urls_are_never_fetched(
    run: Run, tmp_path: Path, trained: dict[str, Any], server: tuple[str, list[str]], suffix: str
) -> None:
    address, requested_paths = server
    hostile(tmp_path / f"evil{suffix}", "zip", trained, Touch("ran"))
    for url in (
        f"{address}/evil{suffix}",
        f"{address.replace('http', 'https')}/evil{suffix}",
        f"file://{tmp_path}/evil",
    ):
        (tmp_path / "config_with_path.yaml").write_text(
            (tmp_path / "config.yaml").read_text() + f"\nckpt_path: {url}\n"
        )
        for arguments in commands(url):
            code, _, err = run(*arguments)
            assert f"{url}: checkpoints are read from local files only. Download it" in err
            tally("R9", code == 2 and not requested_paths and not (tmp_path / "ran").exists())


def test_manifest_cannot_delete_other_files(run: Run, tmp_path: Path) -> None:
    """Test R9. Files that leave the manifest are deleted, so one that lists other files is not used."""
    fit(run)
    folder = tmp_path / "logs/beer/version_0/checkpoints"
    victim = tmp_path / "logs/precious.ckpt"
    victim.write_bytes(b"mine")
    content = json.loads((folder / "manifest.json").read_text())
    entries = [Entry(**each) for each in content["checkpoints"]]
    outside = Entry("../../../precious.ckpt", 0, 4, "0" * 64)
    hostile = (
        Manifest((outside, *entries), content["best"]),
        Manifest(tuple(entries), content["best"], (outside.file,)),
    )
    for number, manifest in enumerate(hostile, 1):
        manifest.write(folder)
        notice.cache_clear()
        steps = f"--trainer.max_steps={9 * number}"
        code, _, err = run("fit", "-c", "config.yaml", "--ckpt_path=logs/beer/version_0", steps)
        assert "damaged (it lists files that are not checkpoints). The list of checkpoints is rebuilt" in err
        tally("R9", code == 0 and victim.read_bytes() == b"mine")
