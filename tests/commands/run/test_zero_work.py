"""Commands that are left without a batch."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt_lightning.cli import main
from gpt_lightning.data.language_modeling import LanguageModeling
from tests.commands.run.test_cli import CONFIG
from tests.reliability.conftest import tally
from tests.runs import write_text

RUN = "logs/beer/version_0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the working directory of a trained run."""
    folder = tmp_path_factory.mktemp("trained")
    write_text(folder)
    (folder / "config.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "-c", "config.yaml"]) == 0
    yield folder
    os.environ.pop("PL_GLOBAL_SEED", None)


@pytest.mark.parametrize(("command", "name"), [("validate", "val"), ("test", "test"), ("predict", "predict")])
@pytest.mark.parametrize("limit", ["0", "0.0"])
def test_a_limit_of_0_is_an_error(
    command: str,
    name: str,
    limit: str,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(trained)
    code = main([command, "-c", "config.yaml", "--ckpt_path", RUN, f"--trainer.limit_{name}_batches={limit}"])
    message = f"trainer.limit_{name}_batches={limit} leaves no batch to {command}. Raise it, or leave it out"
    assert message in capsys.readouterr().err
    tally("R13", code == 2)


@pytest.mark.parametrize(("command", "hook"), [("validate", "val"), ("test", "test"), ("predict", "predict")])
def test_a_data_module_without_batches_is_an_error(
    command: str, hook: str, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setattr(LanguageModeling, f"{hook}_dataloader", lambda _: [])
    before = sorted(trained.rglob("*"))
    code = main([command, "-c", "config.yaml", "--ckpt_path", RUN])
    assert f"there was no batch to {command}. Check that the data module yields rows for it" in capsys.readouterr().err
    assert sorted(trained.rglob("*")) == before
    tally("R13", code == 2)


def test_a_limit_of_0_does_not_count_in_a_development_run(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    options = ["--trainer.limit_val_batches=0", "--trainer.fast_dev_run=1"]
    assert main(["validate", "-c", "config.yaml", "--ckpt_path", RUN, *options]) == 0
