"""Guards: the imports that a YAML or a checkpoint may cause."""
