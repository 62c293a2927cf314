"""Processes with limits of time and memory, for content of unknown origin that could loop, or abort its process."""
