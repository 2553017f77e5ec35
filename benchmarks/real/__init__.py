"""Benchmarks on real galaxy images.

The images are not part of this repository; each command takes their path.
"""
