"""Explanations of what a model predicts: attributions, erasure, attention, layers and losses."""
