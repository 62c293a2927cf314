"""Text generation: single prompts, batches, prompt-lookup speculative decoding, int8 weights."""
