"""Benchmarks of speed, memory and quality, with the scripts that compare other libraries."""
