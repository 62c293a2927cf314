"""Checkpoints whose fields have other types, shapes or values than those that training writes."""

import copy
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.checkpoints.torch_files import CheckpointFiles
from gpt_lightning.errors import InputError
from gpt_lightning.tasks.load import find_checkpoint, load_task
from gpt_lightning.training import Checkpoints
from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.conftest import SOAK, tally
from tests.runs import causal_lm, language_modeling, trainer

__all__ = ["run"]

pytestmark = pytest.mark.reliability

WEIGHT = ("state_dict", "backbone.token_embedding.weight")
SHAPE = (257, 16)
BACKBONE = ("hyper_parameters", "backbone")
LOOP = ("loops", "fit_loop")
OPTIMIZER = ("optimizer_states", 0)
WRONG_VALUES: tuple[Any, ...] = (None, [], {}, -1, "x", [[]], {"a": 1}, float("nan"), 2**70, True)
ABSENT = object()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the content of a checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    fit = trainer(folder, max_steps=2, callbacks=[Checkpoints()])
    fit.fit(causal_lm(), datamodule=language_modeling(folder))
    content = torch.load(find_checkpoint(str(folder), "last"), weights_only=True)
    assert tuple(content["state_dict"][WEIGHT[1]].shape) == SHAPE
    return dict(content)


def changed(checkpoint: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy of a checkpoint with another value in one place."""
    copied = copy.deepcopy(checkpoint)
    parent = copied
    for key in place[:-1]:
        parent = parent[key]
    if value is ABSENT:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return copied


def is_refused(path: Path) -> bool:
    """Return whether loading a checkpoint ends with one InputError that names it."""
    try:
        load_task(path)
    except InputError as error:
        return str(path) in str(error) or "the checkpoint: " in str(error)
    return False


def test_fields_of_another_type(tmp_path: Path, good: dict[str, Any]) -> None:
    """Test R19. A field that only resuming needs may be absent."""
    path = tmp_path / "wrong.ckpt"
    fields = ("callbacks", "epoch", "hyper_parameters", "loops", "optimizer_states", "state_dict", "tokenizer")
    for field in fields:
        for value in WRONG_VALUES if SOAK else WRONG_VALUES[:5]:
            is_valid = type(value) is type(good[field]) and field in ("callbacks", "loops", "optimizer_states")
            torch.save(changed(good, (field,), value), path)
            tally("R19", is_refused(path) != is_valid)
    for version in ("1.9.0", "abc", "", "2.6.6\x1b[31m"):
        torch.save(changed(good, ("pytorch-lightning_version",), version), path)
        tally("R19", is_refused(path))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("hyper_parameters", "task"), []),
        (BACKBONE, []),
        (("hyper_parameters", "optimizer"), {"lr": "x"}),
        (("hyper_parameters", "optimizer"), {"unknown": 1}),
        (("hyper_parameters", "lora"), None),
        (("hyper_parameters", "lora"), {"r": "x"}),
        (("hyper_parameters", "lora"), {"r": 10**9}),
        ((*BACKBONE, "n_layer"), 10**9),
        ((*BACKBONE, "n_embd"), 10**9),
        ((*BACKBONE, "vocab_size"), 10**12),
        ((*BACKBONE, "block_size"), 10**12),
        ((*BACKBONE, "n_layer"), 2.5),
        ((*BACKBONE, "n_head"), 0),
        (WEIGHT, torch.zeros(SHAPE).to_sparse()),
        (WEIGHT, torch.zeros(SHAPE, device="meta")),
        (WEIGHT, torch.zeros(SHAPE, dtype=torch.complex64)),
        (WEIGHT, torch.zeros(SHAPE, dtype=torch.int64)),
        (WEIGHT, torch.zeros(1).expand(10**6, 10**6)),
        (WEIGHT, torch.zeros(3)),
        (WEIGHT, 5),
        (WEIGHT, ABSENT),
    ],
)
def test_hyper_parameters_and_weights(tmp_path: Path, good: dict[str, Any], place: tuple[Any, ...], value: Any) -> None:
    """Test R19. Shapes far larger than the weights are refused before memory is allocated for them."""
    torch.save(changed(good, place, value), tmp_path / "wrong.ckpt")
    tally("R19", is_refused(tmp_path / "wrong.ckpt"))


def test_unusual_objects_and_archives(tmp_path: Path, good: dict[str, Any]) -> None:
    """Test R19 with objects that torch reads, but no checkpoint has, and with a compressed archive."""
    path = tmp_path / "wrong.ckpt"
    shared: Any = [1]
    for _ in range(45):
        shared = [shared, shared]
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for value, reason in (
        (bytearray(9), r"it has an object \w+\.bytearray"),
        (torch.zeros(2, 2).to_sparse(), r"it has an object torch\._utils\._rebuild_sparse_tensor"),
        (1j, r"it has an object \w+\.complex"),
        (shared, "too many values"),
        (cyclic, "too many values"),
    ):
        torch.save(changed(good, ("callbacks", "x"), value), path)
        with pytest.raises(InputError, match=reason):
            read_checkpoint(path)
        tally("R19", True)
    torch.save(good, path)
    packed = tmp_path / "packed.ckpt"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in archive.namelist():
            target.writestr(member, archive.read(member))
    with pytest.raises(InputError, match="its zip archive is compressed, unlike those of torch"):
        read_checkpoint(packed)
    tally("R19", True)


STATES: list[tuple[tuple[Any, ...], Any]] = [
    (("optimizer_states",), []),
    (("optimizer_states",), ABSENT),
    (("pytorch-lightning_version",), ABSENT),
    (("waiting_batches",), 10**6),
    (("loops",), {}),
    (LOOP, {}),
    ((*LOOP, "epoch_progress"), ABSENT),
    ((*LOOP, "epoch_progress"), 5),
    ((*LOOP, "epoch_progress", "total", "reset"), 5),
    ((*LOOP, "epoch_loop.batch_progress", "total", "ready"), "x"),
    ((*LOOP, "epoch_loop.batch_progress", "current", "ready"), -5),
    ((*LOOP, "epoch_loop.state_dict", "_batches_that_stepped"), "x"),
    ((*LOOP, "state_dict", "combined_loader"), 5),
    (OPTIMIZER, None),
    ((*OPTIMIZER, "state"), []),
    ((*OPTIMIZER, "state", 0), 5),
    ((*OPTIMIZER, "state", 0, "exp_avg"), "x"),
    ((*OPTIMIZER, "state", 0, "exp_avg"), torch.zeros(3)),
    ((*OPTIMIZER, "state", 0, "exp_avg"), ABSENT),
    ((*OPTIMIZER, "state", 0, "step"), torch.zeros(7)),
    ((*OPTIMIZER, "param_groups"), {}),
    ((*OPTIMIZER, "param_groups", 0, "params"), [0]),
    ((*OPTIMIZER, "param_groups", 0, "params"), "x"),
    (("callbacks", "Checkpoints"), {}),
    (("callbacks", "Checkpoints"), 5),
]
"""Fields that only resuming reads, and wrong values for them."""


def test_training_state(tmp_path: Path, good: dict[str, Any]) -> None:
    """Test R19. A run that resumes reads more than other commands."""
    path = tmp_path / "wrong.ckpt"
    for place, value in STATES:
        torch.save(changed(good, place, value), path)
        again = trainer(tmp_path, max_steps=4, callbacks=[Checkpoints()], plugins=[CheckpointFiles()])
        with pytest.raises(InputError, match=re.escape(str(path))):
            again.fit(causal_lm(), datamodule=language_modeling(tmp_path), ckpt_path=str(path))
        tally("R19", True)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("lr_schedulers",), ABSENT),
        (("identity",), {"data.seed": 7}),
        (("callbacks", "Checkpoints"), {"best_score": "x", "best_step": 1}),
    ],
)
def test_state_that_lightning_restores(run: Run, tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    """Test R19 with exceptions that arise while Lightning restores the state."""
    fit(run)
    content = torch.load(find_checkpoint(str(tmp_path / "logs/beer/version_0"), "last"), weights_only=True)
    torch.save(changed(content, place, value), tmp_path / "wrong.ckpt")
    code, _, err = run("fit", "-c", "config.yaml", "--ckpt_path=wrong.ckpt", "--trainer.max_steps=6")
    assert "checkpoint" in err
    tally("R19", code == 2 and len(err.splitlines()) == 1)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with a path")
@pytest.mark.parametrize("name", ["hparams.yaml", "metrics.csv"])
def test_a_pipe_in_place_of_a_file_of_a_logger_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    fit(run)
    file = tmp_path / "logs/beer/version_0" / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    code, _, err = run("fit", "-c", "config.yaml", "--ckpt_path=logs/beer/version_0", "--trainer.max_steps=6")
    assert f"{name}: a pipe, a socket or a device, not a file of the run. Delete it" in err
    tally("R19", code == 2)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with a path")
def test_a_pipe_among_the_checkpoints_is_skipped(run: Run, tmp_path: Path) -> None:
    fit(run)
    os.mkfifo(tmp_path / "logs/beer/version_0/checkpoints/step_9.ckpt")
    for command in ("fit", "validate"):
        code, _, err = run(command, "-c", "config.yaml", "--ckpt_path=logs/beer/version_0", "--trainer.max_steps=6")
        tally("R19", code == 0)
        assert "step_9" not in err
