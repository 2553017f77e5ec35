"""Measurements of speed and quality, beside peers and baselines; not installed. See README.md."""
