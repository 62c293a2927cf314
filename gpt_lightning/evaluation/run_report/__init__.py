"""Report of a training run: the files that it is built from, and its sections."""
