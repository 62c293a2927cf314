"""What the tests share."""

import os

# Before torch starts its threads: tiny tensors gain nothing from them, and test processes run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
