"""Readers of files and hub datasets, which yield rows with their locations."""
