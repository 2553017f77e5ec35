"""Catalogues to match."""

import numpy as np
import pyarrow as pa
from astropy.coordinates import offset_by

MODES = ("mutual", "nearest", "all")


def make_table(ra, dec, prefix, **columns):
    ids = [f"{prefix}{row}" for row in range(len(ra))]
    positions = {"ra": np.asarray(ra), "dec": np.asarray(dec)}
    return pa.table({"object_id": pa.array(ids, pa.string()), **positions, **columns})


def pair_rows(pairs):
    return [(int(pair["anchor_id"][1:]), int(pair["target_id"][1:])) for pair in pairs.to_pylist()]


def offset(centre, angle, length):
    """Positions [deg] at an angle and length [rad] from others [deg]."""
    ra, dec = offset_by(*np.radians(centre), angle, length)
    return ra.deg % 360, dec.deg


def all_sky(rng, n):
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def nearby(rng, n, centre, sigma_arcsec):
    """Positions scattered about others by a Rayleigh law."""
    length = np.radians(rng.rayleigh(sigma_arcsec, n) / 3600)
    return offset(centre, rng.uniform(0, 2 * np.pi, n), length)
