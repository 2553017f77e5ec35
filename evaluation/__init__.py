"""Measure a latent space: retrieval, distances, morphology, probes.

`evaluation.evaluate` measures one survey, `evaluation.reports` writes the page.
"""
