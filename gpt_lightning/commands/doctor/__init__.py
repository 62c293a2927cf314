"""``gpt-lightning doctor``: versions, hardware and settings of this machine, and what to change."""
