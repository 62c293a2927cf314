"""``generate`` from the command line."""

from pathlib import Path

import pytest
import torch

from gpt_lightning.cli import main
from gpt_lightning.models.generation.int8 import Int8Linear
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.training import Checkpoints, Validations
from tests.runs import causal_lm, language_modeling, trainer


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run of a model with a context of 8 bytes."""
    folder = tmp_path_factory.mktemp("run")
    run = trainer(folder, max_steps=3, callbacks=[Checkpoints(), Validations()])
    run.fit(causal_lm(), datamodule=language_modeling(folder))
    return folder


def generate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["generate", *arguments])
    return code, *capsys.readouterr()


def test_a_run_folder_and_its_checkpoint_give_the_same_text(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [
        generate(capsys, str(model), "--prompt=beer", "--max_new_tokens=20", "--seed=3")
        for model in (run_folder, find_checkpoint(str(run_folder)), run_folder)
    ]
    assert texts[0][0] == 0, texts[0][2]
    assert texts[0][1].startswith("beer")
    assert texts[0] == texts[1] == texts[2]
    assert texts[0][1] != generate(capsys, str(run_folder), "--prompt=beer", "--max_new_tokens=20", "--seed=4")[1]


def test_a_prompt_longer_than_the_context_is_truncated(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = generate(capsys, str(run_folder), "--prompt=" + "beer " * 9, "--max_new_tokens=30")
    assert code == 0
    assert out.startswith("beer " * 9)
    assert err == "the prompt has 45 tokens, but the context of the model holds 8: only the last 8 are used\n"


def test_an_empty_prompt_starts_a_new_document(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = generate(capsys, str(run_folder), "--max_new_tokens=5", "--temperature=0")
    assert code == 0
    assert "<|endoftext|>" not in out


def test_int8_weights_are_used(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = Int8Linear.forward

    def record(self: Int8Linear, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(self.weight))
        return forward(self, x)

    monkeypatch.setattr(Int8Linear, "forward", record)
    arguments = (str(run_folder), "--prompt=beer", "--max_new_tokens=3", "--temperature=0")
    exact = generate(capsys, *arguments)
    assert not sizes
    assert generate(capsys, *arguments, "--int8") == exact  # rounding does not change the most likely token
    assert 257 in sizes, "the output layer has a row for each byte and the end of text"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature=-1"], "--temperature -1.0 must be 0 (greedy), or 1e-06 or more"),
        (["--temperature=1e-40"], "--temperature 1e-40 must be 0 (greedy), or 1e-06 or more"),
        (["--top_k=0"], "--top_k 0 must be at least 1"),
        (["--top_p=1.5"], "--top_p 1.5 must lie in (0, 1]"),
        (["--max_new_tokens=0"], "--max_new_tokens 0 must be at least 1"),
        (["--device=cuda:99"], "--device cuda:99"),
        (["--device=meta"], "--device meta holds no numbers"),
        (["--int8"], "--int8 runs on CPUs only. Add --device cpu, or leave --int8 out"),
    ],
)
def test_invalid_values_are_refused(
    run_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("meta"))
    code, _, err = generate(capsys, str(run_folder), *arguments)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_paths_without_a_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    for model, message in (
        (tmp_path / "absent", "no checkpoint, run folder or model folder has this path"),
        (tmp_path, "not a run with checkpoints, because "),
        (tmp_path / "other.pt", "this torch file is not a checkpoint of gpt-lightning or nanoGPT"),
    ):
        code, _, err = generate(capsys, str(model))
        assert code == 2
        assert f"{model}: {message}" in err


def test_a_hostile_pickle_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentinel = tmp_path / "sentinel"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(sentinel), "w")

    torch.save({"state_dict": {}, "hyper_parameters": Hostile()}, tmp_path / "hostile.ckpt")
    code, _, err = generate(capsys, str(tmp_path / "hostile.ckpt"))
    assert code == 2
    assert "not a checkpoint that can be read safely" in err
    assert not sentinel.exists()


def test_int8_needs_a_cpu(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_lightning.models.device.device_of", lambda _: torch.device("meta"))
    code, _, err = generate(capsys, str(run_folder), "--int8")
    assert (code, "--int8 runs on CPUs only. Add --device cpu, or leave --int8 out" in err) == (2, True)
