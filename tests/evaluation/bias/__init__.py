"""Tests of bias measurements."""
