"""Generator of the toy world, a corpus for pretraining and six tasks that needs no download."""
