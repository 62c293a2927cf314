"""Tokenizers, which encode text as token ids and decode ids to text."""
