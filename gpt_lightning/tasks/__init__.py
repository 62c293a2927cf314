"""LightningModules: the backbone with a head, a loss and metrics for one task each."""

from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.causal_lm import CausalLM

__all__ = ["CausalLM", "Task"]
