"""Options of reading a catalogue, in place of what its file says."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.reading.frames import angle_unit, frame_named

YEARS = (1800.0, 2200.0)
"""Smallest and largest epoch [Julian year]."""


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """Table, columns, unit, frame and epoch of a catalogue's positions.

    By default a column is that of the option's name, else the one with a usual spelling
    (`catalogs.reading.columns.SPELLINGS`). Without right ascension, Galactic, ecliptic or B1950
    columns are used. Legacy Survey tables get ``release_brickid_objid``; without an id column rows
    are numbered from 0.

    Raises
    ------
    ValueError
        If there is no such frame or unit, or an epoch is out of range.
    """

    ra: str | None = None  # columns to use
    dec: str | None = None
    object_id: str | None = None
    position_error: str | None = None  # column of errors along one axis, or RA_ERROR+DEC_ERROR
    position_error_unit: str | None = None  # such as ``mas``, if neither file nor name says
    table: str | None = None  # of a FITS or VOTable file of several: name, or number from 1
    unit: str | None = None  # of ra: deg, hourangle or rad; dec has the same, or degrees for hours
    frame: str | None = None  # one of `catalogs.reading.frames.FRAMES`
    epoch: float | None = None  # to move positions to along their proper motion [Julian year]
    reference_epoch: float | None = None  # of the positions in the file [Julian year]

    def __post_init__(self) -> None:
        for year in (self.epoch, self.reference_epoch):
            if year is not None and not YEARS[0] <= year <= YEARS[1]:
                raise ValueError(f"an epoch must be a Julian year such as 2016.0 but is {year}")
        for unit in (self.unit, self.position_error_unit):
            if unit is not None:
                angle_unit(unit)
        if self.frame is not None:
            frame_named(self.frame)
