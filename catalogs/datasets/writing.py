"""Write the sample table of an image set of any layout.

======================  ============================================================================
Galaxy10 DECaLS         HDF5 with ``images, ans, ra, dec, redshift, pxscale``; rows point into it
Galaxy10 SDSS           HDF5 with ``images, ans`` only: positions must come from a catalogue
Hugging Face            a folder of Parquet shards with ``image`` {bytes, path}; rows carry images
Multimodal Universe     the same with ``image`` {band, flux, mask, ivar, psf_fwhm, scale}, or HDF5
                        in folders ``healpix=NUMBER``; rows carry images
HATS                    ``Norder=/Dir=/Npix=.parquet`` with a nested ``image``
folder of files         FITS, JPEG, PNG or NPY, matched to a catalogue, or to ``metadata.csv`` by
                        ``file_name`` as in image folders of Hugging Face
======================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from catalogs.datasets.folder import write_folder
from catalogs.datasets.galaxy10 import write_galaxy10
from catalogs.datasets.image_files import find_images
from catalogs.datasets.multimodal import multimodal_files, write_multimodal
from catalogs.datasets.options import ImageSetOptions
from catalogs.datasets.shards import write_shards
from galaxy_da.errors import CatalogError
from galaxy_da.io.hats.folders import is_hats, list_parquet_files
from galaxy_da.io.storage import Location, PathOrUrl, exists, is_folder, location
from galaxy_da.surveys import find_survey

_OF_FOLDERS = ("catalog", "match", "bands", "stretch", "accept_colours", "unit", "frame")
_METADATA_FILES = ("metadata.csv", "metadata.parquet")


def write_sample(
    source: PathOrUrl,
    out: PathOrUrl,
    survey: str,
    options: ImageSetOptions | None = None,
    progress: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    """Write the sample table of a published image set, or of a folder of image files.

    `source` is a Galaxy10 HDF5 file, HDF5 files of the Multimodal Universe, a Parquet file, a
    folder of Parquet shards or image files, or HATS. `fields` of `ImageSetOptions` replace those of
    `options`. Returns ``sample`` (path), ``rows``, ``layout``; of a folder also the report of
    `write_folder`.

    Raises
    ------
    ValueError
        If an option does not apply to the set.
    CatalogError, TableError
        If there is no image set, positions are missing, or ids repeat.
    """
    options = replace(options or ImageSetOptions(), **fields)
    place, target = location(source), location(out)
    if options.stretch is not None:
        find_survey(survey).stretch_of(options.stretch)
    if not (exists(place) or is_folder(place)):
        raise CatalogError(f"{source}: no such file or folder")
    options = _with_metadata_file(place, options)
    if multimodal_files(place):
        _refuse_others(place, options, ())
        return write_multimodal(place, target, survey, options)
    if place.suffix.lower() in (".h5", ".hdf5"):
        _refuse_others(place, options, ("positions", "stretch"))
        return write_galaxy10(place, target, survey, options)
    if options.catalog is not None or _holds_images(place):
        _refuse_others(place, options, _OF_FOLDERS)
        if options.catalog is None and (options.match != "auto" or options.unit or options.frame):
            raise ValueError("match, unit and frame need a catalogue to match files to")
        return write_folder(place, target, survey, options, progress)
    _refuse_others(place, options, ("image", "bands", "stretch"))
    return write_shards(place, target, survey, options)


def _refuse_others(place: Location, options: ImageSetOptions, taken: Sequence[str]) -> None:
    """Raise ValueError for an option that does not apply to a layout."""
    for name in (
        "positions",
        "image",
        "bands",
        "catalog",
        "match",
        "accept_colours",
        "unit",
        "frame",
    ):
        if name not in taken and getattr(options, name) != getattr(ImageSetOptions(), name):
            listed = f"{', '.join(taken[:-1])} and {taken[-1]}" if taken else "no such option"
            raise ValueError(f"{place.name} takes {listed}, not {name}")


def _with_metadata_file(place: Location, options: ImageSetOptions) -> ImageSetOptions:
    """Take the catalogue that an image folder of Hugging Face brings, if no other is named."""
    if options.catalog is not None or exists(place) or not is_folder(place):
        return options
    found = next((place / name for name in _METADATA_FILES if exists(place / name)), None)
    return options if found is None else replace(options, catalog=found)


def _holds_images(place: Location) -> bool:
    """Test if a folder is one of image files rather than Parquet shards, which may have pictures.

    Without a catalogue, only FITS files can become rows.
    """
    if exists(place) or not is_folder(place) or is_hats(place):
        return False
    names, shards = find_images(place), list_parquet_files(place)
    return bool(names) and (not shards or sum(".fit" in n.lower() for n in names) > len(shards))
