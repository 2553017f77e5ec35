"""HATS catalogues: a Parquet file for each HEALPix pixel, and margins of the rows around it.

Format: IVOA Note "HATS", https://www.ivoa.net/documents/Notes/HATS/. Importing loads no library of
the extra ``hats``.
"""
