"""Queries of an index, one a module: similar galaxies, counterparts, outliers, duplicates.

`galaxy_da.latent_index.LatentIndex` has all of them as methods.
"""
