"""Optimization: parameter groups, optimizers, learning-rate schedules."""

from gpt_lightning.optim.fine_tuning import FineTuning
from gpt_lightning.optim.optimizer import OptimizerConfig
from gpt_lightning.optim.schedule import Schedule

__all__ = ["FineTuning", "OptimizerConfig", "Schedule"]
