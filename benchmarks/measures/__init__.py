"""Measures of image quality that benchmarks share."""
