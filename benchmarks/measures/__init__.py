"""Measures that several benchmarks share: image quality, sky residuals, reconstruction."""
