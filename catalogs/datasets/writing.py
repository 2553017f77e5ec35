"""Write the sample table of an image set of any layout.

======================  ============================================================================
Galaxy10 DECaLS         HDF5 with ``images, ans, ra, dec, redshift, pxscale``; rows point into it
Galaxy10 SDSS           HDF5 with ``images, ans`` only: positions must come from a catalogue
Hugging Face            a folder of Parquet shards with ``image`` {bytes, path}; rows carry images
Multimodal Universe     the same with ``image`` {band, flux, mask, ivar, psf_fwhm, scale}
HATS                    ``Norder=/Dir=/Npix=.parquet`` with a nested ``image``
======================  ============================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalogs.datasets.galaxy10 import write_galaxy10
from catalogs.datasets.options import ImageSetOptions
from catalogs.datasets.shards import write_shards
from galaxy_da.io.storage import PathOrUrl, location

__all__ = ["write_sample"]


def write_sample(
    source: PathOrUrl,
    out: PathOrUrl,
    survey: str,
    options: ImageSetOptions | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Write the sample table of a published image set.

    Parameters
    ----------
    source : path or URL
        A Galaxy10 HDF5 file, a Parquet file, a folder of Parquet shards, or a HATS catalogue.
    out : path or URL
        Sample table to write, Parquet.
    survey : str
        Survey of the images.
    options : ImageSetOptions, optional
        Columns, bands, pixel scale and positions, in place of what the files say.
    **fields
        Fields of `ImageSetOptions` in place of those of `options`.

    Returns
    -------
    dict
        ``sample`` (path), ``rows``, ``layout``.

    Raises
    ------
    ValueError
        If an option does not apply to the set.
    CatalogError, TableError
        If there is no image set, positions are missing, or ids repeat.
    """
    options = replace(options or ImageSetOptions(), **fields)
    place = location(source)
    is_hdf5 = place.suffix.lower() in (".h5", ".hdf5")
    taken = ("positions",) if is_hdf5 else ("image", "bands")
    for name in ("positions", "image", "bands"):
        if getattr(options, name) and name not in taken:
            raise ValueError(f"{place.name} takes {' and '.join(taken)}, not {name}")
    write = write_galaxy10 if is_hdf5 else write_shards
    return write(place, location(out), survey, options)
