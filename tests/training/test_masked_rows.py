"""Masked rows in training: from which checkpoints a run may continue, and with which result."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.errors import InputError
from gpt_lightning.training import Checkpoints
from gpt_lightning.training.data_identity import first_masked
from tests.reliability.conftest import many, tally
from tests.runs import causal_lm, language_modeling, trainer
from tests.training.test_counters import differences

pytestmark = pytest.mark.reliability


def fit(folder: Path, name: str, ckpt_path: Path | None = None, **arguments: Any) -> tuple[Path, Any]:
    """Train for two epochs, two micro-batches a step; return the run's checkpoints and its trainer."""
    checkpoints = Checkpoints(every_n_steps=1, keep=100)
    loop = trainer(folder / name, callbacks=[checkpoints], accumulate_grad_batches=2, max_epochs=2, logger=False)
    data = language_modeling(folder, train=str(folder / "train.jsonl"), validation=None, **arguments)
    loop.fit(causal_lm(), datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return folder / name / "checkpoints", loop


def state(folder: Path) -> dict[str, Any]:
    path = max(folder.glob("step_*.ckpt"), key=lambda each: int(each.stem.removeprefix("step_")))
    content = torch.load(path, weights_only=True)
    return {name: content[name] for name in ("state_dict", "optimizer_states", "global_step")}


@pytest.mark.parametrize("mask_documents", [False, True])
def test_a_run_continues_with_a_mask_unless_it_has_read_the_rows(tmp_path: Path, mask_documents: bool) -> None:
    """Test R22 with every checkpoint of a run, before and after a document first occurs."""
    texts = [f"{number} bottles of beer on the wall" for number in range(12)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    plain, _ = fit(tmp_path, "plain", mask_documents=mask_documents)
    tried = 0
    for line in range(1, 1 + many(2, 12)):
        rows = tmp_path / "rows.txt"
        rows.write_text(f"{tmp_path / 'train.jsonl'}:{line}\n")
        settings: dict[str, Any] = {"mask_documents": mask_documents, "without": str(rows)}
        masked, loop = fit(tmp_path, f"masked_{line}", **settings)
        first = first_masked(loop.datamodule, loop, range(2))
        assert first is not None
        assert first[0] == 0
        step = first[1] // 2
        for start in sorted({max(step - 1, 1), max(step, 1), step + 1}):
            checkpoint = plain / f"step_{start}.ckpt"
            if start <= step:
                again, _ = fit(tmp_path, f"again_{line}_{start}", checkpoint, **settings)
                tally("R22", not list(differences(state(again), state(masked))))
                tried += 1
            else:
                with pytest.raises(
                    InputError, match=r"data\.without masks rows that the checkpoint has been trained on"
                ):
                    fit(tmp_path, f"late_{line}", checkpoint, **settings)
        assert list(differences(state(plain)["state_dict"], state(masked)["state_dict"]))
    assert tried


def test_weights_do_not_depend_on_the_text_of_masked_rows(tmp_path: Path) -> None:
    """Test R22: two texts that differ in masked documents, of equal length, give the same weights."""
    results = []
    for word in ("beer", "wine"):
        texts = [f"{number} bottles of {word if number % 3 == 0 else 'milk'} on the wall" for number in range(12)]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        rows = tmp_path / "rows.txt"
        rows.write_text("".join(f"{tmp_path / 'train.jsonl'}:{number + 1}\n" for number in range(0, 12, 3)))
        results.append(
            [state(fit(tmp_path, f"{word}_{name}", without=name and str(rows))[0]) for name in (None, "masked")]
        )
    assert list(differences(results[0][0], results[1][0]))
    tally("R22", not list(differences(results[0][1], results[1][1])))
