"""What happens around a run: checkpoints, speed, samples, what a person sees."""

from gpt_lightning.training.checkpoint import Checkpoints
from gpt_lightning.training.evaluation import Evaluation
from gpt_lightning.training.interruption import Interruption
from gpt_lightning.training.lm_eval_callback import LMEval
from gpt_lightning.training.predictions import PredictionWriter
from gpt_lightning.training.progress import ProgressLines, Summary
from gpt_lightning.training.randomness import RandomnessByPosition
from gpt_lightning.training.reports import Reports
from gpt_lightning.training.samples import Samples
from gpt_lightning.training.step_record import StepRecord
from gpt_lightning.training.throughput import Throughput
from gpt_lightning.training.validation import Validations

__all__ = [
    "Checkpoints",
    "Evaluation",
    "Interruption",
    "LMEval",
    "PredictionWriter",
    "ProgressLines",
    "RandomnessByPosition",
    "Reports",
    "Samples",
    "StepRecord",
    "Summary",
    "Throughput",
    "Validations",
]
