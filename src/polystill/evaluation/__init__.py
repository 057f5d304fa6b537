"""Measurements of exported students: quality, speed, robustness, and the significance of differences."""
