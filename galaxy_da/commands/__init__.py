"""Command-line verbs of the core, one module for verbs that belong together."""
