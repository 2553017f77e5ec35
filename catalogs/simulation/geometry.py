"""Coordinates along the axes of a disc, and the lights that lie in it."""

from __future__ import annotations

import numpy as np

TAIL_BEADS = 32


def to_sky(
    along: np.ndarray, across: np.ndarray, angle_deg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn coordinates along a major axis, at an angle east of north, and across it to the sky."""
    sin, cos = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    return along * sin + across * cos, along * cos - across * sin


def from_sky(
    east: np.ndarray, north: np.ndarray, angle_deg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn coordinates on the sky to those along and across a major axis; inverse of `to_sky`."""
    sin, cos = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    return east * sin + north * cos, east * cos - north * sin


def tail_beads(truth: dict[str, np.ndarray]) -> np.ndarray:
    """Return (n, beads, 4) Gaussians of the tidal tails: east, north, size [arcsec], share.

    A tail leaves the disc on the side away from the companion and curves by `tail_turn_deg`,
    fading and widening. A bridge joins the two galaxies.
    """
    column = {name: truth[name][:, None] for name in _TAIL_COLUMNS}
    bridge = np.arange(TAIL_BEADS) >= TAIL_BEADS - TAIL_BEADS // 4
    step = np.where(bridge, 0, np.arange(TAIL_BEADS) / (TAIL_BEADS - TAIL_BEADS // 4))  # 0 to 1
    east, north = column["companion_east_arcsec"], column["companion_north_arcsec"]
    away = np.arctan2(-east, -north)
    radius, length = column["disc_half_light_arcsec"], column["tail_length_arcsec"]
    turn = np.radians(column["tail_turn_deg"])
    # A circular arc that starts at the disc's half-light radius, at an angle to the outward line.
    heading = away + np.sign(turn) * 0.6 + 0.5 * turn * step
    tail_east = radius * np.sin(away) + length * step * np.sin(heading)
    tail_north = radius * np.cos(away) + length * step * np.cos(heading)
    between = np.where(bridge, (np.cumsum(bridge) - 0.5) / bridge.sum(), 0)
    size = np.where(bridge, 0.22 * radius, radius * (0.16 + 0.22 * step))
    share = np.where(
        bridge,
        column["bridge_share"] / bridge.sum(),
        (1 - column["bridge_share"]) * (1.3 - step) / (1.3 - step[~bridge]).sum(),
    )
    return np.stack(
        [
            np.where(bridge, east * between, tail_east),
            np.where(bridge, north * between, tail_north),
            size,
            share,
        ],
        axis=-1,
    )


_TAIL_COLUMNS = (
    "companion_east_arcsec", "companion_north_arcsec", "disc_half_light_arcsec",
    "tail_length_arcsec", "tail_turn_deg", "bridge_share",
)  # fmt: skip
