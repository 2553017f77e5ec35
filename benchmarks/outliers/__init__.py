"""Measure how well outlier rankings find injected outliers and real artefacts."""
