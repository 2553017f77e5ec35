"""Command-line verbs of the catalogues, one module a verb."""
