"""Fit probes, which predict physical quantities from latents, and measure their errors."""
