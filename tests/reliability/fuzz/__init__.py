"""Fuzzer of the command line: mutated flags and files, each run in a process of its own."""
