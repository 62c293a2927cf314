"""Hand-written backward passes, and matrix products for few rows."""
