"""Crossmatch HATS catalogues, too large for memory, pixel by pixel on Dask."""
