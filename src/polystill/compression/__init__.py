"""Making trained models smaller: magnitude pruning of a folder."""
