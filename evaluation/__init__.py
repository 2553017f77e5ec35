"""How good a space is: retrieval, distances, reports, benchmarks."""
