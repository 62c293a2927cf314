"""Evaluation of trained models beyond the metrics of their task."""
