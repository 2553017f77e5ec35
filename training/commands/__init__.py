"""Command-line verbs of training, one module a verb."""
