"""What a YAML or a checkpoint may import."""
