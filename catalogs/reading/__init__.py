"""Read catalogues of any format into one kind of Arrow table, positions in ICRS degrees."""

from catalogs.reading.catalogue import read_catalog
from catalogs.reading.options import CatalogOptions

__all__ = ["CatalogOptions", "read_catalog"]
