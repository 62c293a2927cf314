"""Optimisation: parameter groups, the optimizer, the learning rate over time."""

from gpt_lightning.optim.fine_tuning import FineTuning
from gpt_lightning.optim.optimizer import OptimizerConfig
from gpt_lightning.optim.schedule import Schedule

__all__ = ["FineTuning", "OptimizerConfig", "Schedule"]
