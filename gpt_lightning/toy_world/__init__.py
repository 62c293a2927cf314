"""Generator of the toy world, a corpus for pretraining and seven tasks that needs no download."""
