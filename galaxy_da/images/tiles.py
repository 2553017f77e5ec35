"""Cut galaxies out of the coadded tiles of a survey. Each tile is opened once.

A tile is one FITS file per band, or one file of all bands, with masks, weights and noise planes as
`galaxy_da.images.fits` knows them, in the same files or in others: bricks of the Legacy Surveys,
tiles of DES, patches of HSC and Rubin, MER tiles of Euclid. Tiles overlap; a galaxy is cut from the
one with most bands, and of these from that whose edges are farthest from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from galaxy_da.errors import CutoutError, SurveyError, first_line
from galaxy_da.images.cutout import Cutout, join_bands
from galaxy_da.images.cutouts import check_positive
from galaxy_da.images.fits import select_hdus
from galaxy_da.images.tile import Section, Tile, open_hdus
from galaxy_da.images.tile_files import TileFiles, find_tiles
from galaxy_da.images.wcs import celestial_wcs, pixel_scale_arcsec, pixels_of, sky_of
from galaxy_da.io.files import json_hash
from galaxy_da.io.positions import BAD_POSITION, are_positions, position_problem
from galaxy_da.io.sphere import chord, separation_arcsec, unit_vectors
from galaxy_da.surveys import Survey

_SLACK = 1.2  # of the distance from a tile's middle to its corners; no projection is used beyond
_EVERY_BAND = 1e7  # arcsec, more than the edges of any tile are away
_OPEN_TILES = 2  # of threads on both sides of a boundary


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """Tiles of one survey.

    Attributes
    ----------
    files : str
        Pattern of the FITS files, as of `galaxy_da.images.tile_files.find_tiles`:
        ``bricks/*-image-{band}.fits.fz``.
    survey : Survey
        Survey of the tiles.
    side_arcsec : float
        Side of a cutout [arcsec].
    planes : tuple of str
        Patterns of masks, weights and noise in files of their own.
    """

    files: str
    survey: Survey
    side_arcsec: float
    planes: tuple[str, ...] = ()

    @cached_property
    def tiles(self) -> tuple[TileFiles, ...]:
        """Files of each tile; SurveyError if there is none."""
        return find_tiles(self.files, self.planes, self.survey)

    def state(self) -> str:
        """Return a hash of the sizes and the times of change of all files."""
        states = [path.stat() for tile in self.tiles for path in tile.paths()]
        return json_hash([[state.st_size, state.st_mtime_ns] for state in states])

    def absolute(self) -> Mosaic:
        """Return the mosaic with absolute paths."""
        files, *planes = (str(Path(name).absolute()) for name in (self.files, *self.planes))
        return replace(self, files=files, planes=tuple(planes))

    def assign(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Return the number of the tile for each ICRS position [deg], -1 for none, (n,) int."""
        from scipy.spatial import cKDTree

        best, chosen = np.full(len(ra), -np.inf), np.full(len(ra), -1)
        usable = np.flatnonzero(are_positions(ra, dec))
        if not len(usable):
            return chosen
        tree = cKDTree(unit_vectors(ra[usable], dec[usable]))
        middles = np.array([outline.middle for outline in self._outlines])
        around = tree.query_ball_point(middles, [outline.reach for outline in self._outlines])
        for number in np.flatnonzero([len(rows) for rows in around]):
            outline, near = self._outlines[number], usable[np.sort(around[number])]
            height, width = outline.shape
            x, y = pixels_of(outline.wcs, ra[near], dec[near])
            edge = np.minimum.reduce([x, y, width - 1 - x, height - 1 - y])
            rank = outline.scale * edge + _EVERY_BAND * len(self.tiles[number].images)
            better = (edge >= -0.5) & (rank > best[near])
            best[near[better]], chosen[near[better]] = rank[better], number
        return chosen

    def sections(
        self, number: int, rows: Sequence[Mapping[str, Any]]
    ) -> list[list[Section] | CutoutError]:
        """Cut squares out of a tile, -1 for none, on its own pixels.

        Each row has ``ra`` and ``dec`` [ICRS deg]. The result is a section for each grid of pixels
        that the tile has, or the error of the row.
        """
        if number < 0:
            off = CutoutError(f"{self.files}: not on any tile", status="outside_footprint")
            return [_bad_position(row) or off for row in rows]
        with self._lock:
            tile = self._opened(number)
        if isinstance(tile, CutoutError):
            return [_bad_position(row) or tile for row in rows]
        ra, dec = (np.array([row[name] for row in rows], float) for name in ("ra", "dec"))
        try:
            return tile.sections(ra, dec, self.side_arcsec)
        except Exception as error:  # a damaged tile never ends a run
            return [CutoutError(f"{self.tiles[number].first.name}: {first_line(error)}")] * len(ra)

    def cutouts(self, number: int, rows: Sequence[Mapping[str, Any]]) -> list[Cutout | CutoutError]:
        """Cut galaxies out of a tile, -1 for none, and put them north up.

        Each row has ``ra`` and ``dec`` [ICRS deg], and may have ``psf_fwhm_arcsec``. The result is
        a cutout, smaller at an edge, or the error of the row.
        """
        found: list[Cutout | CutoutError] = []
        for row, sections in zip(rows, self.sections(number, rows), strict=True):
            try:
                if isinstance(sections, CutoutError):
                    raise sections
                psf_fwhm_arcsec = row.get("psf_fwhm_arcsec")
                check_positive("psf_fwhm_arcsec", psf_fwhm_arcsec)
                parts = [section.cutout(psf_fwhm_arcsec) for section in sections]
                found.append(join_bands(parts, self.survey))
            except CutoutError as error:
                found.append(error)
        return found

    @cached_property
    def _outlines(self) -> list[_Outline]:
        return [_outline(tile.first, self.survey) for tile in self.tiles]

    @cached_property
    def _lock(self) -> Lock:
        return Lock()

    @cached_property
    def _opened(self) -> Callable[[int], Tile | CutoutError]:
        """Reader of a tile by its number, which keeps the last ones, or its error."""

        @lru_cache(maxsize=_OPEN_TILES)
        def read(number: int) -> Tile | CutoutError:
            try:
                return Tile(self.tiles[number], self.survey)
            except CutoutError as error:
                return error

        return read

    def __getstate__(self) -> dict[str, Any]:
        kept = (*self.__dataclass_fields__, "tiles")  # numbers of tiles stay, not open files
        return {name: self.__dict__[name] for name in kept if name in self.__dict__}


class _Outline(NamedTuple):
    wcs: Any
    shape: tuple[int, int]
    middle: np.ndarray  # unit vector
    reach: float  # chord
    scale: float  # arcsec / pixel


def _bad_position(row: Mapping[str, Any]) -> CutoutError | None:
    problem = position_problem(row["ra"], row["dec"])
    return CutoutError(problem, status=BAD_POSITION) if problem else None


def _outline(path: Path, survey: Survey) -> _Outline:
    """Return the WCS, the size and the surroundings of the first image of a file."""
    try:
        with open_hdus(path) as hdus:
            hdu = select_hdus(hdus, survey)[0][0][1]
            wcs, (height, width) = celestial_wcs(hdu.header), hdu.shape[-2:]
    except (OSError, CutoutError) as error:
        raise SurveyError(f"{path}: cannot be read as a tile ({first_line(error)})") from error
    if wcs is None:
        raise SurveyError(f"{path}: the image has no celestial WCS; tiles need one")
    ra, dec = sky_of(wcs, width / 2, height / 2)
    corners = sky_of(wcs, [0, width, 0, width], [0, 0, height, height])
    reach = _SLACK * float(separation_arcsec(ra, dec, *corners).max())
    return _Outline(
        wcs=wcs,
        shape=(height, width),
        middle=unit_vectors(ra, dec),
        reach=chord(min(reach, 180 * 3600)),
        scale=pixel_scale_arcsec(wcs),
    )
