"""Commands to continue with, printed after ``fit`` and after an interruption."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.loggers import TensorBoardLogger

from gpt_lightning.checkpoints.manifest import Entry
from gpt_lightning.checkpoints.read import read_manifest
from gpt_lightning.commands.shell import command, quote_words, script
from gpt_lightning.data.base import DataModule
from gpt_lightning.errors import Interrupted
from gpt_lightning.tasks import CausalLM, Seq2SeqLM
from gpt_lightning.training import Checkpoints


def next_steps(trainer: L.Trainer, allowed: Sequence[str]) -> str:
    """Return commands that use the trained model, one a line; empty if the run saved no checkpoint.

    Args:
        trainer: the trainer after ``fit``.
        allowed: packages of the user's own that the run may import.
    """
    run = _run_folder(trainer)
    if run is None or _last_checkpoint(run) is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return ""
    lines = "\n".join(f"  {line}" for line in _commands(trainer, run, [f"--allow_import={name}" for name in allowed]))
    return f"Next steps:\n{lines}"


def _commands(trainer: L.Trainer, run: Path, allow: Sequence[str]) -> Iterator[str]:
    module = trainer.datamodule  # type: ignore[attr-defined]
    data = module if isinstance(module, DataModule) else None
    config = run / "config.yaml"
    if data is not None and config.is_file() and (data.sources["test"] or data.has_validation):
        yield command("test" if data.sources["test"] else "validate", "-c", config, f"--ckpt_path={run}", *allow)
    if isinstance(trainer.lightning_module, CausalLM):
        yield command("generate", run, *allow)
    elif isinstance(trainer.lightning_module, Seq2SeqLM):
        yield command("generate", run, "--prompt=TEXT", *allow)
    elif data is not None and (file := _file_to_predict(data)) is not None:
        yield command("predict", f"--model={run}", f"--input={file}", f"--output={run / 'predictions.jsonl'}", *allow)
    if not (run / "export").exists():
        yield command("export", run, run / "export", *allow)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            yield quote_words([script("tensorboard"), "--logdir", logger.root_dir])


def how_to_resume(
    trainer: L.Trainer, interruption: Interrupted, arguments: Sequence[str], overrides: Mapping[str, Any]
) -> str:
    """Return which step was finished, where it was saved, and the command that resumes.

    Args:
        trainer: the trainer that was interrupted.
        interruption: the exception that ended training.
        arguments: arguments of ``fit``.
        overrides: values that win over the arguments.
    """
    run = _run_folder(trainer)
    last = None if run is None else _last_checkpoint(run)
    if run is None or last is None:
        return f"Stopped at step {trainer.global_step}. Nothing was saved"
    saved = run / "checkpoints" / last.file
    if interruption.between_steps and last.step == trainer.global_step:
        state = f"Stopped after step {last.step}. Saved {saved}"
    else:
        state = f"Stopped at once. The last checkpoint is {saved} (step {last.step})"
    given = [f"--{key}={value}" for key, value in overrides.items() if key != "ckpt_path"]
    return f"{state}\nResume with:\n  {command(*_without_checkpoint(arguments), *given, f'--ckpt_path={run}')}"


def _without_checkpoint(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments without ``--ckpt_path`` and ``--resume`` and their values."""
    is_value = False
    for argument in arguments:
        if is_value:
            is_value = False
        elif argument in ("--ckpt_path", "--resume"):
            is_value = True
        elif not argument.startswith(("--ckpt_path=", "--resume=")):
            yield argument


def _run_folder(trainer: L.Trainer) -> Path | None:
    folders = (each.folder for each in trainer.checkpoint_callbacks if isinstance(each, Checkpoints))
    return next((folder.parent for folder in folders if folder is not None), None)


def _last_checkpoint(run: Path) -> Entry | None:
    return next(reversed(read_manifest(run / "checkpoints").checkpoints), None)


def _file_to_predict(data: DataModule) -> str | None:
    """Return the file of the test split, or else of the validation split, but never one with training rows."""
    named = (data.sources["test"], data.sources["validation"])
    return next((each for each in named if isinstance(each, str) and Path(each).is_file()), None)
