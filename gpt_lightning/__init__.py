"""Pretrain a GPT on your text and fine-tune it for your tasks, from YAML, on Lightning."""

__version__ = "0.1.0"
