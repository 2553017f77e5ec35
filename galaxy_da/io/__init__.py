"""Store files whole or not at all, on disk or in object stores, and define the tables."""
