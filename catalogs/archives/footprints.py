"""Footprints of surveys: MOCs from a file, or downloaded once from the CDS MOC server.

A MOC (multi-order coverage map) is a set of HEALPix cells. Degraded to cells of 1.7′ it can only
grow, so no position inside the footprint is called outside.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_da.errors import CatalogError
from galaxy_da.io.files import atomic_path
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from mocpy import MOC

    from catalogs.archives.http import Http, Query

MOC_SERVER = "https://alasky.cds.unistra.fr/MocServer/query"

_ORDER = 11  # cells of 1.7 arcmin


def read_footprint(path: str | os.PathLike[str]) -> MOC:
    """Read a MOC from a FITS, JSON or ASCII file; CatalogError if it is none."""
    from mocpy import MOC

    form = {".json": "json", ".txt": "ascii", ".ascii": "ascii"}.get(Path(path).suffix, "fits")
    try:
        return MOC.load(path, format=form)
    except Exception as error:  # mocpy raises another type for each format
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CatalogError(
            f"{path}: cannot be read as a MOC ({reason}); give FITS, or ASCII ending in .txt"
        ) from error


def download_footprint(
    survey: Survey, http: Http, folder: Path, *, url: str = MOC_SERVER
) -> MOC | None:
    """Return a survey's MOC, downloaded at the first call and kept in a folder as FITS.

    None is returned if the survey's definition names no footprint. CatalogError is raised if the
    MOC server does not know it.
    """
    from mocpy import MOC

    if not survey.footprint:
        return None
    path = folder / f"{survey.name}.moc.fits"
    if path.is_file():
        return read_footprint(path)
    query: Query = {"expr": f"ID={survey.footprint}", "get": "moc", "fmt": "ascii", "order": _ORDER}
    reply = http.get(url, params=query).decode(errors="replace").strip()
    try:
        moc = MOC.from_string(reply, format="ascii")
    except Exception as error:  # not a MOC: an HTML page
        raise CatalogError(f"{url}: expected a MOC but got {reply[:60]!r}") from error
    if moc.empty():
        raise CatalogError(
            f"{survey.name}: the MOC server knows no coverage {survey.footprint!r}; give a MOC file"
        )
    with atomic_path(path) as temporary:
        moc.save(temporary, format="fits", overwrite=True)
    return moc
