"""Text generation: one stream, batches, speculative decoding by prompt lookup, int8 weights."""
