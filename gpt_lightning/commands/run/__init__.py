"""``gpt-lightning fit``, ``validate``, ``test`` and ``predict``."""
