"""The toy world: a generated corpus for pretraining and four tasks, available without a download."""
