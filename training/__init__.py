"""Pretraining of latent spaces, and their adaptation to new surveys."""
