"""The commands of ``gpt-lightning``, one thin file each."""
