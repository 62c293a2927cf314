"""LightningDataModules: from files or the hub to batches."""

from gpt_lightning.data.language_modeling import LanguageModeling

__all__ = ["LanguageModeling"]
