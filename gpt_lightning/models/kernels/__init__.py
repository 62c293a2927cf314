"""Elementwise functions with hand-written backward passes, and matrix products of few rows."""
