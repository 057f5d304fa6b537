"""Training a family: the step, the data feed, validation of every candidate, checkpoints, and the stages."""
