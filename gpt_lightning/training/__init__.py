"""What happens around a run: checkpoints, speed, samples, what a person sees."""

from gpt_lightning.training.checkpoint import Checkpoints, ValidationAtEnd
from gpt_lightning.training.evaluation import Evaluation
from gpt_lightning.training.predictions import PredictionWriter
from gpt_lightning.training.progress import ProgressLines, Summary
from gpt_lightning.training.randomness import RandomnessByPosition
from gpt_lightning.training.reports import Reports
from gpt_lightning.training.samples import Samples
from gpt_lightning.training.throughput import Throughput

__all__ = [
    "Checkpoints",
    "Evaluation",
    "PredictionWriter",
    "ProgressLines",
    "RandomnessByPosition",
    "Reports",
    "Samples",
    "Summary",
    "Throughput",
    "ValidationAtEnd",
]
