"""The experiments of the two papers: `python -m experiments kim-rush` and `aio-kd` (docs/studies.md)."""
