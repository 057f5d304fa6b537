"""Training: the loop over a run's stages, the one update, batches, validation and checkpoints."""
