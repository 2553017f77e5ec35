"""Helpers shared by the benchmarks: tables, clocks, command lines and HTTP clients."""
