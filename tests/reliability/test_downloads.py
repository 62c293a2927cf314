"""Names of models and data in files of someone else, which must not make this machine contact the network."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gpt_lightning import downloads
from gpt_lightning.downloads import may_download, no_download_of, only_downloads
from gpt_lightning.tasks.load import find_checkpoint
from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.conftest import tally

__all__ = ["run"]

pytestmark = pytest.mark.reliability

NAME = "hub:someone/beacon"


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Refuse all connections, and return the list of the attempts."""
    found: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        found.append(arguments)
        raise OSError("no network")

    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return found


def test_permissions_are_nested() -> None:
    assert may_download(NAME)
    with only_downloads([NAME]):
        assert may_download(NAME)
        assert not may_download("hub:other")
        with only_downloads(["hub:other"]):
            assert not may_download("hub:other")
            assert not may_download(NAME)
        with no_download_of([NAME]):
            assert not may_download(NAME)
    assert may_download(NAME)
    assert downloads.may_download("hub:other")


def test_a_checkpoint_names_a_model_of_the_hub(run: Run, tmp_path: Path, attempts: list[Any]) -> None:
    """Test R9. A name in a checkpoint causes no connection; the same name in a flag does."""
    fit(run)
    folder = tmp_path / "logs/beer/version_0"
    content = torch.load(find_checkpoint(str(folder), "last"), weights_only=True)
    content["hyper_parameters"]["init_from"] = NAME
    torch.save(content, tmp_path / "evil.ckpt")
    for arguments, flag in (
        (("generate", "evil.ckpt"), "--init_from"),
        (("export", "evil.ckpt", "out"), "--init_from"),
        (("export", "evil.ckpt", "out", "--adapter"), "--init_from"),
        (("fit", "-c", "config.yaml", "--ckpt_path=evil.ckpt"), "--model.init_from"),
        (("test", "-c", "config.yaml", "--ckpt_path=evil.ckpt"), "--model.init_from"),
    ):
        code, _, err = run(*arguments)
        assert f"{NAME}: not on this machine, and not downloaded" in err
        assert f"To download it, give {NAME} with {flag}" in err
        tally("R9", code == 2 and not attempts)
    for named in (("generate", "evil.ckpt", f"--init_from={NAME}"), ("generate", NAME)):
        code, _, err = run(*named)
        assert code == 2
        assert "cannot be downloaded" in err
        assert attempts, "a name that the user gives is looked up"
        attempts.clear()


def test_adapters_name_a_model_of_the_hub(run: Run, tmp_path: Path, attempts: list[Any]) -> None:
    """Test R9 with adapters to start from, whose base model is loaded too."""
    fit(run)
    content = torch.load(find_checkpoint(str(tmp_path / "logs/beer/version_0"), "last"), weights_only=True)
    content["hyper_parameters"] |= {"init_from": NAME, "lora": {"r": 1}}
    content["frozen_sha256"] = {"backbone": "0" * 64}
    torch.save(content, tmp_path / "evil.ckpt")
    code, _, err = run("fit", "-c", "config.yaml", "--model.init_from=evil.ckpt")
    assert f"{NAME}: not on this machine" in err
    tally("R9", code == 2 and not attempts)


def test_a_run_names_data_of_the_hub(run: Run, tmp_path: Path, attempts: list[Any]) -> None:
    """Test R9 with the configuration in the folder of a run."""
    fit(run)
    file = tmp_path / "logs/beer/version_0/config.yaml"
    config = yaml.safe_load(file.read_text())
    config["data"]["init_args"]["test"] = NAME
    file.write_text(yaml.safe_dump(config))
    code, _, err = run("evaluate", str(file.parent))
    assert "evaluate downloads nothing that only a run names" in err
    tally("R9", code == 2 and not attempts)
