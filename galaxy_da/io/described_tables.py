"""Unit, UCD and description of every known column, and astropy tables that carry them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table

from galaxy_da.io.column_types import numpy_values

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
    "domain_score": (
        "",
        "stat.probability",
        "Minus log10 of the share of galaxies that look as strange; outside the domain from 2",
    ),
    "domain_reason": ("", "meta.note", "Reason why the cutout lies outside the domain"),
    "rank": ("", "meta.number", "Rank in the result, from 1"),
    "distance": ("", "stat.param", "Euclidean distance in the latent space"),
    "separation_arcsec": ("arcsec", "pos.angDistance", "Angle between the positions"),
    "percentile": ("", "stat.rank", "Share of random pairs that are closer in latent space"),
    "percentile_same": ("", "stat.rank", "Share of the same galaxies' pairs that are closer"),
    "percentile_random": ("", "stat.rank", "Share of random pairs that are closer"),
    "posterior_distance": ("", "stat.param", "Distance over the variances of both posteriors"),
    "match_probability": ("", "stat.probability", "Probability that both images show one galaxy"),
    "ranking": ("", "meta.code.class", "Ranking of the row: bad data or strange galaxy"),
    "outlier_score": ("", "stat.param", "Outlier score, comparable within one ranking"),
    "reason": ("", "meta.note", "Reason for the outlier score"),
    "compare_with": ("", "meta.id.assoc", "Similar galaxies, or the image it differs from"),
    "predicted_score": ("", "stat.param", "Score a person is predicted to give, 0 to 5"),
    "trained_score": ("", "stat.param", "Outlier score weighted with the predicted score"),
    "score": ("", "stat.param", "Score a person gave, 0 to 5"),
    "group": ("", "meta.id.assoc", "Number of a group of duplicates"),
    "anchor_id": ("", "meta.id", "Identifier in the anchor survey"),
    "target_id": ("", "meta.id.cross", "Identifier in the target survey"),
    "n_candidates": ("", "meta.number", "Candidates within the radius"),
    "ambiguous": ("", "meta.code", "True if another candidate could be the match"),
}
"""Unit, UCD and description of the columns of extraction and queries; probes have their own."""


def add_descriptions(table: pa.Table) -> pa.Table:
    """Return the table with unit, UCD and description in the metadata of every known field.

    Metadata that a field has already is kept.
    """
    fields = []
    for field in table.schema:
        notes = dict(
            zip(("unit", "ucd", "description"), COLUMN_NOTES.get(field.name, ()), strict=False)
        )
        fields.append(field.with_metadata({**notes, **field_notes(field)}))
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def to_astropy(table: pa.Table) -> Table:
    """Convert an Arrow table to an astropy table, types as in `galaxy_da.io.column_types`.

    Missing values are masked; missing vectors of floats are NaN.
    """
    columns = {}
    for field in add_descriptions(table).schema:
        notes = field_notes(field)
        values = numpy_values(table[field.name])
        kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
        column = kind(values, description=notes.get("description"), unit=_unit(notes.get("unit")))
        column.meta = {"ucd": notes["ucd"]} if notes.get("ucd") else {}
        columns[field.name] = column
    return Table(columns, copy=False)


def field_notes(field: pa.Field) -> dict[str, str]:
    """Return the metadata of a field as text."""
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}


def _unit(text: str | None) -> u.UnitBase | None:
    return u.Unit(text, parse_strict="silent") if text else None
