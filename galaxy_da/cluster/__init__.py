"""Extraction and indexing in sky partitions, on processes of this machine or a Dask cluster.

The local verbs do not need this room. Importing it loads neither Dask nor HATS.
"""
