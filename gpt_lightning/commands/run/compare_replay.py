"""Comparison of a run with its repetition without some rows."""

from collections.abc import Sequence
from pathlib import Path

import torch

from gpt_lightning.checkpoints.manifest import Entry
from gpt_lightning.checkpoints.read import read_manifest
from gpt_lightning.commands.run.replay import Replay
from gpt_lightning.data.base import DataModule
from gpt_lightning.evaluation.influence import influence, unmasked_traces
from gpt_lightning.evaluation.influence_report import InfluenceReport
from gpt_lightning.status import status
from gpt_lightning.tasks.load import load_task, read_checkpoint
from gpt_lightning.training.run_settings import KEEPS_WEIGHTS, changes


def compare(replay: Replay, new: Path, rows: str, init_from: str | None, allowed: Sequence[str]) -> InfluenceReport:
    """Compare the last checkpoints of a run and of its repetition.

    Args:
        replay: the repetition, which has ended.
        new: its folder.
        rows: file that names the masked rows.
        init_from: new location of the base model of adapters, if it has moved.
        allowed: packages that the runs may import.
    """
    data = replay.datamodule
    assert isinstance(data, DataModule)
    entries = [replay.manifest.checkpoints[-1], read_manifest(new / "checkpoints").checkpoints[-1]]
    paths = [run / "checkpoints" / entry.file for run, entry in zip((replay.replayed, new), entries, strict=True)]
    old, current = (read_checkpoint(path, allowed) for path in paths)
    settings = current.get("settings", {})
    changed = changes(old.get("settings", {}), {k: v for k, v in settings.items() if k not in KEEPS_WEIGHTS})
    weights = old["state_dict"], current["state_dict"]
    is_equal = weights[0].keys() == weights[1].keys() and all(
        torch.equal(value, weights[1][name]) for name, value in weights[0].items()
    )
    with status("Comparing the models"):
        data.setup("fit")
        masked = data.masked_rows
        assert masked is not None
        (task, _), (other, _) = (load_task(path, init_from, allowed) for path in paths)
        found = influence(task, other, data)
    return InfluenceReport(
        run=str(replay.replayed),
        without=str(new),
        rows=rows,
        num_masked=masked.num_masked,
        mask_sha256=masked.mask_digest,
        first=replay.start.first,
        continued=None if replay.start.checkpoint is None else str(replay.start.checkpoint),
        steps=_steps(entries),
        checkpoints=(entries[0].sha256, entries[1].sha256),
        equal_weights=is_equal,
        changed_settings=list(changed),
        traces=unmasked_traces(replay.model, data, data.tokenizer_name) if masked.mask_digest else [],
        influence=found,
    )


def _steps(entries: Sequence[Entry]) -> tuple[int, int]:
    return entries[0].step, entries[1].step
