"""Detection of damaged files."""

import json
import random
from pathlib import Path

import pytest

from gpt_lightning.cli import main
from gpt_lightning.data.shards import TokenStream, tokenize
from gpt_lightning.errors import InputError
from gpt_lightning.tasks.load import find_checkpoint, load_task
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.training import Checkpoints
from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.conftest import many, tally
from tests.runs import causal_lm, language_modeling, trainer, write_text

__all__ = ["run"]

pytestmark = pytest.mark.reliability


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return the last checkpoint of a short run."""
    fit = trainer(tmp_path, max_steps=2, callbacks=[Checkpoints()])
    fit.fit(causal_lm(), datamodule=language_modeling(tmp_path))
    return find_checkpoint(str(tmp_path), "last")


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Return a shard of a tokenized text."""
    folder = tokenize(
        str(write_text(tmp_path, 200)),
        split="train",
        text_column="text",
        tokenizer=bytes_tokenizer(),
        cache_dir=tmp_path,
    )
    (path,) = folder.glob("*.tokens")
    return path


@pytest.fixture
def exported(checkpoint: Path, tmp_path: Path) -> Path:
    """Return the weights file of an exported model folder."""
    assert main(["export", str(checkpoint), str(tmp_path / "model")]) == 0
    return tmp_path / "model/model.safetensors"


@pytest.fixture
def own(exported: Path) -> Path:
    """Return our configuration file in an exported model folder."""
    return exported.with_name("gpt_lightning.json")


def rejects(path: Path) -> bool:
    """Return True if reading ``path`` raises an InputError of one line with its name."""
    try:
        if path.suffix == ".tokens":
            stream = TokenStream(path.parent)
            stream.slice(0, len(stream))
        elif path.suffix == ".ckpt":
            load_task(path)
        else:
            load_task(path.parent)
    except InputError as error:
        message = str(error)
        return str(path) in message and "\n" not in message
    return False


def is_equal_json(first: bytes, second: bytes) -> bool:
    """Return whether two files hold the same JSON value."""
    try:
        return bool(json.loads(first) == json.loads(second))
    except ValueError:
        return False


@pytest.mark.parametrize("kind", ["checkpoint", "shard", "unlisted", "exported", "own"])
def test_flipped_bits_are_detected(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Test R6. A checkpoint without a manifest (``unlisted``) has only the checksums of its tensors."""
    path: Path = request.getfixturevalue("checkpoint" if kind == "unlisted" else kind)
    if kind == "unlisted":
        path = path.rename(tmp_path / "unlisted.ckpt")
    intact = path.read_bytes()
    assert not rejects(path), "the intact file must be accepted"
    rng = random.Random(0)
    weights = intact.index(b"data/0") if kind == "unlisted" else 0
    for _ in range(many(10, 170)):
        damaged = bytearray(intact)
        index = rng.randrange(weights, weights + 4000) if kind == "unlisted" else rng.randrange(len(intact))
        damaged[index] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        if kind == "own" and is_equal_json(intact, bytes(damaged)):
            continue  # such as 1E-05 in place of 1e-05
        if kind == "unlisted" and not rejects(path):
            load_task(path)  # the bit is in padding, which is never read
            continue
        tally("R6", rejects(path))


@pytest.mark.parametrize("kind", ["checkpoint", "shard", "exported"])
def test_truncated_files_are_refused(kind: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    intact = path.read_bytes()
    rng = random.Random(1)
    for size in [0, len(intact) - 1, *(rng.randrange(len(intact)) for _ in range(many(4, 28)))]:
        path.write_bytes(intact[:size])
        tally("R6", rejects(path))


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(damaged)


def test_resume_uses_the_newest_intact_checkpoint(run: Run, tmp_path: Path) -> None:
    fit(run)
    folder = tmp_path / "logs/beer/version_0"
    older, newest = (folder / "checkpoints" / f"step_{step}.ckpt" for step in (2, 4))
    flip(newest)
    code, _, err = run("fit", "-c", "config.yaml", f"--ckpt_path={folder}", "--trainer.max_steps=6")
    assert code == 2
    assert f"{newest}: damaged: its SHA-256 differs from the one in manifest.json" in err
    code, out, err = run("fit", "-c", "config.yaml", "--resume=auto", "--trainer.max_steps=6")
    assert f"logs/beer/version_0/checkpoints/{newest.name}: damaged" in err
    assert f"resumed from logs/beer/version_0/checkpoints/{older.name}" in out
    assert find_checkpoint(str(folder), "last").name == "step_6.ckpt"
    load_task(find_checkpoint(str(folder), "last"))
    tally("R6", not (tmp_path / "logs/beer/version_1").exists())


def test_resume_without_an_intact_checkpoint_is_refused(run: Run, tmp_path: Path) -> None:
    fit(run)
    checkpoints = tmp_path / "logs/beer/version_0/checkpoints"
    for path in checkpoints.glob("step_*"):
        flip(path)
    code, _, err = run("fit", "-c", "config.yaml", "--resume=auto")
    assert "every checkpoint is damaged or missing. Leave out --resume to start a new run" in err
    tally("R6", code == 2 and not (tmp_path / "logs/beer/version_1").exists())
