"""Options of reading a catalogue, in place of what its file says."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.reading.frames import angle_unit, frame_named

__all__ = ["YEARS", "CatalogOptions"]

YEARS = (1800.0, 2200.0)
"""Smallest and largest epoch [Julian year]."""


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """Table, columns, unit, frame and epoch of a catalogue's positions.

    Attributes
    ----------
    ra, dec, object_id : str, optional
        Columns to use. By default the column of that name, else the one with a usual spelling
        (`catalogs.reading.columns.SPELLINGS`, in any case). Without right ascension, Galactic,
        ecliptic or B1950 columns are used. Legacy Survey tables get ``release_brickid_objid``;
        without an id column rows are numbered from 0.
    position_error : str, optional
        Column of the standard error of positions along one axis; or two columns joined by ``+``,
        of the errors along right ascension and declination.
    position_error_unit : str, optional
        Unit of that column, such as ``mas``; needed if neither the file nor the column's name says.
    table : str, optional
        Name or number of the table in a FITS or VOTable file of several, from 1. By default the
        only one that has positions.
    unit : str, optional
        Unit of right ascension: ``deg``, ``hourangle``, ``rad``. Declination has the same, but
        degrees beside hours.
    frame : str, optional
        Frame of the positions, one of `catalogs.reading.frames.FRAMES`.
    epoch : float, optional
        Epoch to move positions to along their proper motion [Julian year].
    reference_epoch : float, optional
        Epoch of the positions in the file [Julian year].

    Raises
    ------
    ValueError
        If there is no such frame or unit, or an epoch is out of range.
    """

    ra: str | None = None
    dec: str | None = None
    object_id: str | None = None
    position_error: str | None = None
    position_error_unit: str | None = None
    table: str | None = None
    unit: str | None = None
    frame: str | None = None
    epoch: float | None = None
    reference_epoch: float | None = None

    def __post_init__(self) -> None:
        for year in (self.epoch, self.reference_epoch):
            if year is not None and not YEARS[0] <= year <= YEARS[1]:
                raise ValueError(f"an epoch must be a Julian year such as 2016.0 but is {year}")
        for unit in (self.unit, self.position_error_unit):
            if unit is not None:
                angle_unit(unit)
        if self.frame is not None:
            frame_named(self.frame)
