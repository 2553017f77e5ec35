"""Read and write files atomically, on disk or in object stores, and define the tables."""
