"""``gpt-lightning init``: inspect a file and print a configuration that trains on it."""
