"""Evaluation of language models with EleutherAI's lm-evaluation-harness."""
