"""Guards against imports and damage that a YAML file, a flag or a checkpoint could cause."""
