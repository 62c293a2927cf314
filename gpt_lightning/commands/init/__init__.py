"""``gpt-lightning init``: look at a file and print a configuration that trains on it."""
