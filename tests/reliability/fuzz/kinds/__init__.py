"""Kinds of inputs, each a function of a random generator and the world."""

from collections.abc import Callable
from random import Random
from typing import Final

from tests.reliability.fuzz.inputs import Input
from tests.reliability.fuzz.kinds import (
    chat_templates,
    checkpoints,
    configs,
    data_files,
    flags,
    lm_eval_tasks,
    model_folders,
    predictions,
    run_folders,
    tokenizers,
)
from tests.reliability.fuzz.world import World

Kind = Callable[[Random, World], Input]

KINDS: Final[dict[str, Kind]] = {
    "flags": flags.draw,
    "configs": configs.draw,
    "data_files": data_files.draw,
    "checkpoints": checkpoints.draw,
    "run_folders": run_folders.draw,
    "tokenizers": tokenizers.draw,
    "model_folders": model_folders.draw,
    "predictions": predictions.draw,
    "chat_templates": chat_templates.draw,
    "lm_eval_tasks": lm_eval_tasks.draw,
}
"""Name -> function that draws an input of this kind."""
