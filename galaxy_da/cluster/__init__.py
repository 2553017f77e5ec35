"""Work in sky partitions, on the processes of this machine or of a Dask cluster.

Nothing of it is needed on one machine, and importing it loads neither Dask nor HATS.
"""
