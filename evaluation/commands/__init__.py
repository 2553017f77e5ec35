"""Command-line verbs of evaluation, one module a verb."""
