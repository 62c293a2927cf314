"""Optimization: parameter groups, optimizers, learning-rate schedules."""

from gpt_lightning.optim.fine_tuning import FineTuning as FineTuning
from gpt_lightning.optim.optimizer import OptimizerConfig as OptimizerConfig
from gpt_lightning.optim.schedule import Schedule as Schedule
