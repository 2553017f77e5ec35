"""Published image sets as sample tables: Galaxy10, Hugging Face, Multimodal Universe, HATS.

Pixels stay as they are: `galaxy_da.images.cutouts` reads them all.
"""

from catalogs.datasets.embeddings import read_embeddings, write_embeddings
from catalogs.datasets.options import ImageSetOptions
from catalogs.datasets.writing import write_sample

__all__ = ["ImageSetOptions", "read_embeddings", "write_embeddings", "write_sample"]
