"""Callbacks that log diagnostics: layers, attention, losses by position, frequency and length, and curves."""

from gpt_lightning.training.diagnostics.hparams import HParams
from gpt_lightning.training.diagnostics.layers import LayerDiagnostics
from gpt_lightning.training.diagnostics.losses import LossDiagnostics
from gpt_lightning.training.diagnostics.probabilities import ProbabilityDiagnostics

__all__ = ["HParams", "LayerDiagnostics", "LossDiagnostics", "ProbabilityDiagnostics"]
