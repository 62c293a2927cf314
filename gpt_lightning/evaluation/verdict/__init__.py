"""Comparison of a tested model with simple baselines, and checks of its test data."""
