"""Questions that an index answers, one a module.

`galaxy_da.latent_index.LatentIndex` has all of them as methods.
"""
