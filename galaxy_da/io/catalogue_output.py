"""Feature tables as catalogues others read: FITS, VOTable, Parquet and HATS.

Every column goes out with its description, unit and UCD, where the format has a place for them:

=========  =====================================================================================
FITS       ``TUNITn``, and ``TUCDn`` and ``TCOMMn`` as TOPCAT writes them; 80 characters of text
VOTable    its own elements and attributes, version 1.4 and up, binary
Parquet    metadata of each Arrow field, and a VOTable header as VOParquet 1.0 keeps it
HATS       the same, in ``dataset/_common_metadata``
=========  =====================================================================================
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.io import fits
from astropy.io.votable import from_table, writeto
from astropy.table import Column, MaskedColumn, Table

from galaxy_da.errors import TableError
from galaxy_da.io.features import vectors
from galaxy_da.io.files import atomic_path, new_folder
from galaxy_da.io.quiet import quiet_lsdb
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
    "survey": ("", "meta.dataset", "Survey the cutout is of"),
    "ra": ("deg", "pos.eq.ra;meta.main", "Right ascension, ICRS"),
    "dec": ("deg", "pos.eq.dec;meta.main", "Declination, ICRS"),
    "cutout": ("", "meta.ref.uri", "Where the cutout was read from"),
    "bands": ("", "instr.bandpass", "Bands of the cutout"),
    "pixel_scale_arcsec": ("arcsec", "instr.scale", "Side of a pixel of the cutout"),
    "psf_fwhm_arcsec": ("arcsec", "instr.obsty.seeing", "PSF full width at half maximum"),
    "status": ("", "meta.code.status", "ok, or why there is no embedding"),
    "message": ("", "meta.note", "What was wrong with the cutout"),
    "flags": ("", "meta.code.qual", "Quality bits, 0 is clean: galaxy_da.io.tables.Flag"),
    "embedding": ("", "stat.fit.param;src.morph", "Latents: mean of the posterior"),
    "variance": ("", "stat.variance", "Variance of the posterior of each latent"),
    "nuisance": ("", "stat.fit.param", "Latents of how it was seen: angle, seeing, centring"),
    "reconstruction_error": (
        "",
        "stat.fit.residual",
        "Mean squared difference of the decoded image, asinh units",
    ),
    "rank": ("", "meta.number", "Place in the answer, from 1"),
    "distance": ("", "stat.param", "Euclidean distance in the latent space"),
    "separation_arcsec": ("arcsec", "pos.angDistance", "Angle between the positions"),
    "percentile": ("", "stat.rank", "Share of random pairs that are closer in latents"),
    "percentile_same": ("", "stat.rank", "Share of the same galaxies' pairs that are closer"),
    "percentile_random": ("", "stat.rank", "Share of random pairs that are closer"),
    "posterior_distance": ("", "stat.param", "Distance over the variances of both posteriors"),
    "match_probability": ("", "stat.probability", "Probability that both images show one galaxy"),
    "outlier_score": ("", "stat.param", "How odd, by the method asked for"),
    "predicted_score": ("", "stat.param", "Score a person is predicted to give, 0 to 5"),
    "trained_score": ("", "stat.param", "Outlier score weighed with the predicted score"),
    "score": ("", "stat.param", "Score a person gave, 0 to 5"),
    "other_survey": ("", "meta.dataset", "Survey of the other image"),
    "other_id": ("", "meta.id", "Identifier in the other survey"),
    "group": ("", "meta.id.assoc", "Objects of one group are one thing, or look it"),
    "anchor_id": ("", "meta.id", "Identifier in the anchor survey"),
    "target_id": ("", "meta.id.cross", "Identifier in the target survey"),
    "n_candidates": ("", "meta.number", "Candidates within the radius"),
    "ambiguous": ("", "meta.code", "Whether another candidate could be the match"),
}
"""Unit, UCD and description of what extraction and queries write; probes describe their own."""

_FITS_CARD = 68


def add_descriptions(table: pa.Table) -> pa.Table:
    """Return the table with unit, UCD and description in every known field's metadata.

    What a field already says of itself stays.
    """
    fields = []
    for field in table.schema:
        notes = dict(
            zip(("unit", "ucd", "description"), COLUMN_NOTES.get(field.name, ()), strict=False)
        )
        fields.append(field.with_metadata({**notes, **_said(field)}))
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def to_astropy(table: pa.Table) -> Table:
    """Return an Arrow feature table as an astropy one.

    Missing numbers are masked, missing text is empty, missing vectors are NaN.
    """
    columns = {}
    for field in add_descriptions(table).schema:
        said = _said(field)
        values = _values(table, field)
        kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
        column = kind(values, description=said.get("description"), unit=_unit(said.get("unit")))
        column.meta = {"ucd": said["ucd"]} if said.get("ucd") else {}
        columns[field.name] = column
    return Table(columns, copy=False)


def write_catalogue(table: pa.Table, path: PathOrUrl) -> str:
    """Write a feature table in the format its name ends in.

    Parameters
    ----------
    table : pa.Table
        As `galaxy_da.io.features.Features.table`.
    path : path or URL
        ``.fits``, ``.vot`` or ``.xml``, ``.parquet``; a name without ending becomes a HATS folder.

    Returns
    -------
    str
        ``FITS``, ``VOTable``, ``Parquet`` or ``HATS``.

    Raises
    ------
    TableError
        If the ending is another, or HATS is asked for and its libraries are not installed.
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


def _write_hats(table: pa.Table, where: Location) -> None:
    notes = with_votable_header(table)
    frame = table.replace_schema_metadata(None).to_pandas(types_mapper=pd.ArrowDtype)
    with new_folder(where) as partial, quiet_lsdb():
        try:
            import lsdb
        except ImportError as error:
            raise TableError(
                "a HATS catalogue needs lsdb; install it with `pip install galaxy_da[hats]`"
            ) from error
        catalogue = lsdb.from_dataframe(
            frame, ra_column="ra", dec_column="dec", margin_threshold=None
        )
        catalogue.write_catalog(
            partial, catalog_name=where.name, as_collection=False, progress_bar=False
        )
        _annotate(partial / "dataset" / "_common_metadata", notes)


def _annotate(path: Path, notes: pa.Table) -> None:
    """Give the fields of a schema file the metadata of our columns."""
    schema = pq.read_schema(path)
    for number, field in enumerate(schema):
        if field.name in notes.schema.names:
            metadata = notes.schema.field(field.name).metadata
            schema = schema.set(number, field.with_metadata(metadata))
    schema = schema.with_metadata({**(schema.metadata or {}), **(notes.schema.metadata or {})})
    with atomic_path(path) as temporary:
        pq.write_metadata(schema, temporary)


def with_votable_header(table: pa.Table) -> pa.Table:
    """Return `describe`'s table with a VOTable header in its metadata (IVOA Note VOParquet 1.0)."""
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
        there = np.asarray(column.is_valid())
        rows[there] = vectors(table.select([field.name]).filter(column.is_valid()), field.name)
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


def _said(field: pa.Field) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}


def _unit(text: str | None) -> u.UnitBase | None:
    return u.Unit(text, parse_strict="silent") if text else None


def _plain(text: str) -> str:
    """Return text in the ASCII that FITS headers hold."""
    return text.encode("ascii", "replace").decode()
