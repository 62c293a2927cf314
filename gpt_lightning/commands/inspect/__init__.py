"""``gpt-lightning inspect``: look at the data of a configuration before training on it."""
