"""Checkpoints on the disk: the manifest, safe reading, atomic writing, run folders."""
