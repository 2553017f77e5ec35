"""Columns of what was measured on the prepared images, beside what the latents say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from galaxy_da.images.measurements import APERTURE_ARCSEC, Measured

MEASURED_PREFIX = "measured_"
"""Prefix of the columns of measurements."""

_SHAPES = {
    "petrosian_arcsec": ("arcsec", "phys.angSize", "Petrosian radius (ratio 0.2), PSF included"),
    "half_light_arcsec": (
        "arcsec",
        "phys.angSize",
        "Circular half-light radius within the Petrosian aperture, PSF included",
    ),
    "axis_ratio": ("", "src.ellipticity", "b/a of adaptive moments, PSF included"),
    "position_angle": ("deg", "pos.posAng", "Of the major axis, north through east"),
    "concentration": ("", "src.morph.param", "5 log10(r80 / r20) (Bershady et al. 2000)"),
    "asymmetry": ("", "src.morph.param", "Within 1.5 Petrosian radii (Conselice 2003)"),
}
_ZEROPOINT = 22.5  # of nanomaggies [AB mag]
_MAG_OF_SHARE = 2.5 / np.log(10)


def join_measured(parts: list[Measured], order: np.ndarray) -> Measured:
    """Join measurements of groups of rows, and put them in another order."""
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in vars(parts[0])
    }
    return Measured(**joined)


def measured_columns(
    measured: Measured | None,
    bands: tuple[str, ...],
    good: np.ndarray,
    photometric: np.ndarray,
) -> pa.Table:
    """Return the columns of n rows; rows that are not `good`, (n,) bool, are null.

    `measured` has the good rows, in order. Magnitudes are null where the flux is not positive, or
    where the row is not `photometric`, (n,) bool.
    """
    columns: dict[str, tuple[np.ndarray | None, tuple[str, str, str]]] = {}
    known = np.where(photometric[good], 1.0, np.nan)
    for number, band in enumerate(bands):
        words = f"AB magnitude in {band}, or the band in its place,"
        within = f"within {APERTURE_ARCSEC:g} arcsec"
        mag, aperture, error = (None, None, None)
        if measured is not None:
            mag = _magnitude(known * measured.petrosian_flux[:, number])
            flux = known * measured.aperture_flux[:, number]
            noise = measured.aperture_noise[:, number]
            aperture = _magnitude(flux)
            with np.errstate(invalid="ignore", divide="ignore"):
                error = np.where(flux > 0, _MAG_OF_SHARE * noise / flux, np.nan)
        ucd = "phot.mag;em.opt"
        columns |= {
            f"{band}_mag": (mag, ("mag", ucd, f"{words} within two Petrosian radii")),
            f"{band}_aperture_mag": (aperture, ("mag", ucd, f"{words} {within}")),
            f"{band}_aperture_mag_err": (
                error,
                ("mag", "stat.error;phot.mag", f"Error by the background noise, {within}"),
            ),
        }
    for name, notes in _SHAPES.items():
        columns[name] = (None if measured is None else getattr(measured, name), notes)
    fields, values = [], []
    for name, (numbers, notes) in columns.items():
        filled = np.full(len(good), np.nan, np.float32)
        if numbers is not None:
            filled[good] = numbers
        values.append(pa.array(filled, pa.float32(), mask=~np.isfinite(filled)))
        metadata = dict(zip(("unit", "ucd", "description"), notes, strict=True))
        fields.append(pa.field(MEASURED_PREFIX + name, pa.float32(), metadata=metadata))
    complete = np.zeros(len(good), bool)
    if measured is not None:
        complete[good] = measured.complete
    values.append(pa.array(complete, mask=~good))
    metadata = {
        "unit": "",
        "ucd": "meta.code.qual",
        "description": "True if the image holds two Petrosian radii",
    }
    fields.append(pa.field(MEASURED_PREFIX + "complete", pa.bool_(), metadata=metadata))
    return pa.table(values, schema=pa.schema(fields))


def _magnitude(flux: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flux > 0, _ZEROPOINT - 2.5 * np.log10(flux), np.nan)
