"""Inspection of training data: rows as the model reads them, statistics, and findings."""
