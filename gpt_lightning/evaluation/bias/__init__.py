"""Bias of models: preferences between paired sentences, and gaps between rows with swapped words."""
