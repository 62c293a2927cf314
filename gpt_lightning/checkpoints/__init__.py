"""Checkpoints on disk: manifest, safe reading, atomic writing, run folders."""
