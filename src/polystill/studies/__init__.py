"""Whole tables of experiments: lists of ordinary commands in the order of their needs, and what they came to."""
