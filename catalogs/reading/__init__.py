"""Read catalogues of any format into one kind of Arrow table, positions in ICRS degrees."""

from catalogs.reading.catalogue import read_catalog

__all__ = ["read_catalog"]
