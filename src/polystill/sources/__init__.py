"""The kinds of sources that sentence pairs come from: one file a kind, listed in `registry`."""
