"""Shipped configurations, found by name from any working directory."""

from pathlib import Path

import pytest
import yaml

from gpt_lightning.cli import main
from gpt_lightning.commands import shipped_configs
from gpt_lightning.commands.shipped_configs import with_paths
from gpt_lightning.errors import InputError

SENTIMENT = shipped_configs.folder() / "sentiment_rt_polarity.yaml"
LLAMA = shipped_configs.folder() / "backbone" / "llama_small.yaml"


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["sentiment_rt_polarity", "sentiment_rt_polarity.yaml"])
def test_c_takes_a_name(name: str) -> None:
    assert with_paths(["fit", "-c", name]) == ["fit", "-c", str(SENTIMENT)]
    assert with_paths(["fit", f"-c{name}"]) == ["fit", f"-c{SENTIMENT}"]
    assert with_paths(["fit", f"--config={name}"]) == ["fit", f"--config={SENTIMENT}"]


@pytest.mark.parametrize("file", ["sentiment_rt_polarity", "sentiment_rt_polarity.yaml"])
def test_a_file_in_the_working_directory_wins(tmp_path: Path, file: str) -> None:
    (tmp_path / file).touch()
    assert with_paths(["fit", "-c", "sentiment_rt_polarity"]) == ["fit", "-c", file]


def test_a_folder_of_that_name_does_not_win(tmp_path: Path) -> None:
    (tmp_path / "sentiment_rt_polarity").mkdir()
    assert with_paths(["fit", "-c", "sentiment_rt_polarity"]) == ["fit", "-c", str(SENTIMENT)]


def test_a_backbone_by_name(tmp_path: Path) -> None:
    assert with_paths(["fit", "--model.backbone", "llama_small"]) == ["fit", "--model.backbone", str(LLAMA)]
    assert with_paths(["fit", "--model.backbone=llama_small.yaml"]) == ["fit", f"--model.backbone={LLAMA}"]
    (tmp_path / "llama_small.yaml").touch()
    assert with_paths(["fit", "--model.backbone=llama_small"]) == ["fit", "--model.backbone=llama_small.yaml"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--experiment", "sentiment_rt_polarity"],
        ["fit", "-c", "{trainer: {max_steps: 1}}"],
        ["fit", "--model.backbone={n_layer: 1}"],
        ["fit", "--model.backbone", "unknown"],
        ["fit", "--model.backbone.n_layer", "2"],
    ],
)
def test_other_arguments_stay(arguments: list[str]) -> None:
    assert with_paths(arguments) == arguments


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"-c sentiment: the file does not exist .*pretrain_books, .*sentiment_rt_pol"):
        with_paths(["fit", "-c", "sentiment"])
    with pytest.raises(InputError, match=r"-c sentiment: the file does not exist"):
        with_paths(["fit", "-csentiment"])
    with pytest.raises(InputError, match=r"A shipped configuration has this name: -c pretrain_books$"):
        with_paths(["fit", "-c", "configs/pretrain_books.yaml"])


def test_listing_shows_every_configuration() -> None:
    lines = shipped_configs.listing().splitlines()
    assert len(lines) == len(list(shipped_configs.folder().glob("*.yaml"))) >= 20
    assert any(line.split()[0] == "sentiment_rt_polarity" and "film reviews" in line for line in lines)


@pytest.mark.parametrize("flag", [["-c", "sentiment_rt_polarity"], ["-csentiment_rt_polarity"]])
def test_print_config_by_name_from_another_folder(capsys: pytest.CaptureFixture[str], flag: list[str]) -> None:
    """The shipped YAML refers to a backbone by a path relative to itself."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *flag, "--print_config"])
    assert stop.value.code == 0
    backbone = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["backbone"]
    assert (backbone["attention"], backbone["n_embd"]) == ("bidirectional", 128)
