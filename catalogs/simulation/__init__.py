"""Simulate the sky: galaxies, the surveys that observe them, and the truth."""
