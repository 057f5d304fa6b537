"""Parallel text on its way into training: sources, cleaning, vocabulary, packed files, batches."""
