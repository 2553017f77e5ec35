"""Cutouts from survey archives: one protocol, one polite engine, a client per service."""
