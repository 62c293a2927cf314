"""Generator of the toy world, a corpus for pretraining and four tasks that needs no download."""
