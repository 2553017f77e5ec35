"""Fit the domain score and the physical columns of an anchor to its training sky."""
