"""Fit probes, which read physical quantities off the latents, and measure their errors."""
