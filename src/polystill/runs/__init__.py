"""A run's folder: its stages, results and provenance, and the answer to "what is this folder?"."""

from polystill.runs.run import Run

__all__ = ["Run"]
