"""Swaps of words between two groups of people, such as pronouns and first names."""
