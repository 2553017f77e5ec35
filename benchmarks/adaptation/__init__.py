"""Measure every way of adapting in the same manner: `adapt`, the baselines and the ceiling."""
