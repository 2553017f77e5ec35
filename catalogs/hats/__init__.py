"""Crossmatch HATS catalogues, which are too large for memory, pixel by pixel on Dask."""
