"""Write feature tables as FITS, VOTable, Parquet or HATS catalogues.

Every column has its description, unit and UCD, as far as the format can hold them:

=========  =====================================================================================
FITS       ``TUNITn``, and ``TUCDn`` and ``TCOMMn`` as TOPCAT writes them; 80 characters of text
VOTable    its own elements and attributes, version 1.4 and up, binary
Parquet    metadata of each Arrow field, and a VOTable header (IVOA Note VOParquet 1.0)
HATS       the same, in ``dataset/_common_metadata``
=========  =====================================================================================
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.io import fits
from astropy.io.votable import from_table, writeto
from astropy.table import Column, MaskedColumn, Table

from galaxy_da.errors import TableError
from galaxy_da.io.features import vectors
from galaxy_da.io.files import atomic_path
from galaxy_da.io.hats.catalogues import write_hats
from galaxy_da.io.storage import Location, PathOrUrl, location
from galaxy_da.io.tables import write_table

__all__ = [
    "COLUMN_NOTES",
    "add_descriptions",
    "to_astropy",
    "with_votable_header",
    "write_catalogue",
]

COLUMN_NOTES: Mapping[str, tuple[str, str, str]] = {
    "object_id": ("", "meta.id;meta.main", "Identifier, unique within its survey"),
    "survey": ("", "meta.dataset", "Survey of the cutout"),
    "ra": ("deg", "pos.eq.ra;meta.main", "Right ascension, ICRS"),
    "dec": ("deg", "pos.eq.dec;meta.main", "Declination, ICRS"),
    "cutout": ("", "meta.ref.uri", "Path or URL of the cutout"),
    "bands": ("", "instr.bandpass", "Bands of the cutout"),
    "pixel_scale_arcsec": ("arcsec", "instr.scale", "Side of a pixel of the cutout"),
    "psf_fwhm_arcsec": ("arcsec", "instr.obsty.seeing", "PSF full width at half maximum"),
    "status": ("", "meta.code.status", "ok, or the reason for a missing embedding"),
    "message": ("", "meta.note", "Problem with the cutout"),
    "flags": ("", "meta.code.qual", "Quality bits, 0 is clean: galaxy_da.io.samples.Flag"),
    "embedding": ("", "stat.fit.param;src.morph", "Latents: mean of the posterior"),
    "variance": ("", "stat.variance", "Variance of the posterior of each latent"),
    "nuisance": ("", "stat.fit.param", "Nuisance latents: orientation, seeing, centring"),
    "reconstruction_error": (
        "",
        "stat.fit.residual",
        "Mean squared difference of the decoded image, asinh units",
    ),
    "rank": ("", "meta.number", "Rank in the result, from 1"),
    "distance": ("", "stat.param", "Euclidean distance in the latent space"),
    "separation_arcsec": ("arcsec", "pos.angDistance", "Angle between the positions"),
    "percentile": ("", "stat.rank", "Share of random pairs that are closer in latent space"),
    "percentile_same": ("", "stat.rank", "Share of the same galaxies' pairs that are closer"),
    "percentile_random": ("", "stat.rank", "Share of random pairs that are closer"),
    "posterior_distance": ("", "stat.param", "Distance over the variances of both posteriors"),
    "match_probability": ("", "stat.probability", "Probability that both images show one galaxy"),
    "outlier_score": ("", "stat.param", "Outlier score, by the chosen method"),
    "predicted_score": ("", "stat.param", "Score a person is predicted to give, 0 to 5"),
    "trained_score": ("", "stat.param", "Outlier score weighted with the predicted score"),
    "score": ("", "stat.param", "Score a person gave, 0 to 5"),
    "other_survey": ("", "meta.dataset", "Survey of the other image"),
    "other_id": ("", "meta.id", "Identifier in the other survey"),
    "group": ("", "meta.id.assoc", "Number of a group of duplicates"),
    "anchor_id": ("", "meta.id", "Identifier in the anchor survey"),
    "target_id": ("", "meta.id.cross", "Identifier in the target survey"),
    "n_candidates": ("", "meta.number", "Candidates within the radius"),
    "ambiguous": ("", "meta.code", "True if another candidate could be the match"),
}
"""Unit, UCD and description of the columns of extraction and queries; probes have their own."""

_FITS_CARD = 68


def add_descriptions(table: pa.Table) -> pa.Table:
    """Return the table with unit, UCD and description in the metadata of every known field.

    Metadata that a field has already is kept.
    """
    fields = []
    for field in table.schema:
        notes = dict(
            zip(("unit", "ucd", "description"), COLUMN_NOTES.get(field.name, ()), strict=False)
        )
        fields.append(field.with_metadata({**notes, **_notes(field)}))
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def to_astropy(table: pa.Table) -> Table:
    """Convert an Arrow feature table to an astropy table.

    Missing numbers are masked, missing text is empty, missing vectors are NaN.
    """
    columns = {}
    for field in add_descriptions(table).schema:
        notes = _notes(field)
        values = _values(table, field)
        kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
        column = kind(values, description=notes.get("description"), unit=_unit(notes.get("unit")))
        column.meta = {"ucd": notes["ucd"]} if notes.get("ucd") else {}
        columns[field.name] = column
    return Table(columns, copy=False)


def write_catalogue(table: pa.Table, path: PathOrUrl) -> str:
    """Write a feature table in the format its name ends in.

    Parameters
    ----------
    table : pa.Table
        Feature table, as `galaxy_da.io.features.Features.table`.
    path : path or URL
        ``.fits``, ``.vot`` or ``.xml``, ``.parquet``; a name without ending becomes a HATS folder.

    Returns
    -------
    str
        ``FITS``, ``VOTable``, ``Parquet`` or ``HATS``.

    Raises
    ------
    TableError
        If the name has another ending.
    CatalogError
        If the name has no ending and LSDB is not installed.
    StorageError
        If the output cannot be written, or a HATS folder is there already.
    """
    target = location(path)
    writers = {
        ".fits": ("FITS", _write_fits),
        ".vot": ("VOTable", _write_votable),
        ".xml": ("VOTable", _write_votable),
        ".parquet": ("Parquet", _write_parquet),
        "": ("HATS", _write_hats),
    }
    if target.suffix.lower() not in writers:
        raise TableError(
            f"{target}: no catalogue format ends in {target.suffix!r}; expected .fits, .vot, .xml, "
            ".parquet, or no ending for a HATS folder"
        )
    name, write = writers[target.suffix.lower()]
    write(table, target)
    return name


def _write_fits(table: pa.Table, path: Location) -> None:
    converted = to_astropy(table)
    hdu = fits.table_to_hdu(converted, character_as_bytes=False)
    hdu.name = "FEATURES"
    for number, name in enumerate(converted.colnames, 1):
        column = converted[name]
        for card, text in (
            (f"TUCD{number}", (column.info.meta or {}).get("ucd")),
            (f"TCOMM{number}", column.info.description),
        ):
            if text:
                hdu.header[card] = _plain(text)[:_FITS_CARD]
    with atomic_path(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary)


def _write_votable(table: pa.Table, path: Location) -> None:
    with atomic_path(path) as temporary:
        writeto(from_table(to_astropy(table)), str(temporary), tabledata_format="binary2")


def _write_parquet(table: pa.Table, path: Location) -> None:
    write_table(with_votable_header(table), path)


def _write_hats(table: pa.Table, path: Location) -> None:
    write_hats(table, path, with_votable_header(table).schema)


def with_votable_header(table: pa.Table) -> pa.Table:
    """Return the described table with a VOTable header in its metadata (VOParquet 1.0)."""
    table = add_descriptions(table)
    text = io.BytesIO()
    writeto(from_table(to_astropy(table.slice(0, 0))), text)
    keys = {
        b"IVOA.VOTable-Parquet.version": b"1.0",
        b"IVOA.VOTable-Parquet.content": text.getvalue(),
    }
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **keys})


def _values(table: pa.Table, field: pa.Field) -> Any:
    column = table[field.name]
    if pa.types.is_fixed_size_list(field.type):
        rows = np.full((len(column), field.type.list_size), np.nan, np.float32)
        valid = np.asarray(column.is_valid())
        rows[valid] = vectors(table.select([field.name]).filter(column.is_valid()), field.name)
        return rows
    if pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
        missing = np.asarray(column.is_null())
        kind = field.type.to_pandas_dtype()
        return np.ma.MaskedArray(np.asarray(column.fill_null(0)).astype(kind), missing)
    if pa.types.is_boolean(field.type):
        return np.ma.MaskedArray(np.asarray(column.fill_null(False)), np.asarray(column.is_null()))
    return np.array(
        ["" if value is None else str(value) for value in column.to_pylist()], dtype=str
    )


def _notes(field: pa.Field) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}


def _unit(text: str | None) -> u.UnitBase | None:
    return u.Unit(text, parse_strict="silent") if text else None


def _plain(text: str) -> str:
    """Return text in the ASCII that FITS headers hold."""
    return text.encode("ascii", "replace").decode()
