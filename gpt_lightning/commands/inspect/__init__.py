"""``gpt-lightning inspect``: check the data of a configuration before training on it."""
