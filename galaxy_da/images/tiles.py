"""Cut galaxies out of coadded tiles. Each tile is read once, into memory.

A tile is one FITS file per band, or one file of all bands, with masks, weights and noise planes as
`galaxy_da.images.fits` knows them: bricks of the Legacy Surveys, DES and HSC, patches of Rubin, MER
tiles of Euclid. Tiles overlap; a galaxy is cut from the tile whose edges are farthest from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from galaxy_da.errors import CutoutError, SurveyError, first_line
from galaxy_da.images.cutout import Cutout, join_bands
from galaxy_da.images.cutouts import placed_cutout
from galaxy_da.images.fits import FitsImage, read_fits, select_hdus
from galaxy_da.images.placement import Placement, placement
from galaxy_da.images.quiet import quiet
from galaxy_da.images.wcs import celestial_wcs, is_wcs_card, pixels_of, sky_of
from galaxy_da.io.positions import BAD_POSITION, are_positions, position_problem
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.surveys import Survey

__all__ = ["Mosaic"]

_BAND = "{band}"
_SLACK = 1.2  # of the distance from a tile's middle to its corners; no projection is used beyond


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """Tiles of one survey.

    Attributes
    ----------
    files : str
        Path of the FITS files, with ``*`` for what differs between tiles and ``{band}`` for the
        band, such as ``bricks/*-image-{band}.fits.fz``.
    survey : Survey
        Survey of the tiles.
    side_arcsec : float
        Side of a cutout [arcsec].
    """

    files: str
    survey: Survey
    side_arcsec: float

    @cached_property
    def tiles(self) -> tuple[dict[str, Path], ...]:
        """Files of each tile by band, in the survey's order, or one of all bands, named "".

        SurveyError if there is no tile.
        """
        grouped: dict[tuple[str, ...], dict[str, Path]] = {}
        bands = self.survey.band_names if _BAND in self.files else ("",)
        for band in bands:
            named = Path(self.files.replace(_BAND, band))
            shape = re.compile("([^/]*)".join(map(re.escape, str(named).split("*"))))
            below = str(named.relative_to(named.anchor)).replace("[", "[[]")
            for path in sorted(Path(named.anchor).glob(below)):
                match = shape.fullmatch(str(path))
                if match is not None:
                    grouped.setdefault(match.groups(), {})[band] = path
        if not grouped:
            raise SurveyError(
                f"{self.files}: no such files; write * for the part that differs between tiles and "
                f"{{band}} for {', '.join(self.survey.band_names)}"
            )
        return tuple(grouped[key] for key in sorted(grouped))

    def assign(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Return the number of the tile for each ICRS position [deg], -1 for none, (n,) int."""
        best, chosen = np.full(len(ra), -np.inf), np.full(len(ra), -1)
        usable = are_positions(ra, dec)
        for number, files in enumerate(self.tiles):
            wcs, (height, width) = _grid(next(iter(files.values())), self.survey)
            ra0, dec0 = sky_of(wcs, width / 2, height / 2)
            corners = sky_of(wcs, [0, width, 0, width], [0, 0, height, height])
            reach = separation_arcsec(ra0, dec0, *corners).max()
            near = usable & (separation_arcsec(ra0, dec0, ra, dec) < _SLACK * reach)
            x, y = pixels_of(wcs, ra[near], dec[near])
            edge = np.full(len(ra), -np.inf)
            edge[near] = np.minimum.reduce([x, y, width - 1 - x, height - 1 - y])
            nearer = (edge >= -0.5) & (edge > best)
            best[nearer], chosen[nearer] = edge[nearer], number
        return chosen

    def cutouts(self, number: int, rows: Sequence[Mapping[str, Any]]) -> list[Cutout | CutoutError]:
        """Cut galaxies out of a tile, -1 for none.

        Each row has ``ra`` and ``dec`` [ICRS deg], and may have ``psf_fwhm_arcsec``. The result is
        a cutout, smaller at an edge, or the error of the row.
        """
        return [self._cutout(number, row) for row in rows]

    def _cutout(self, number: int, row: Mapping[str, Any]) -> Cutout | CutoutError:
        if problem := position_problem(row["ra"], row["dec"]):
            return CutoutError(problem, status=BAD_POSITION)
        if number < 0:
            return CutoutError(f"{self.files}: not on any tile", status="outside_footprint")
        try:
            with self._lock:
                images = self._opened(number)
            if isinstance(images, CutoutError):
                return images
            position, places = (row["ra"], row["dec"]), dict[int, Placement]()
            for tile in images:
                if id(tile.wcs) not in places:  # bands mostly share one
                    shape = tile.image.pixels.shape[1:]
                    places[id(tile.wcs)] = placement(tile.wcs, shape, position)
            parts = [self._part(tile, places[id(tile.wcs)], row) for tile in images]
            cutout = join_bands(parts, self.survey)
        except CutoutError as error:
            return error
        except Exception as error:  # one row never ends a run
            file = next(iter(self.tiles[number].values()))
            return CutoutError(f"{file.name}: {first_line(error)}")
        return replace(cutout, psf_fwhm_arcsec=row.get("psf_fwhm_arcsec"))

    @cached_property
    def _lock(self) -> Lock:
        return Lock()

    @cached_property
    def _opened(self) -> Callable[[int], list[_TileImage] | CutoutError]:
        """Reader of a tile by its number, which keeps the last one, or its error."""

        @lru_cache(maxsize=1)
        def read(number: int) -> list[_TileImage] | CutoutError:
            try:
                return _read(self.tiles[number], self.survey)
            except CutoutError as error:
                return error

        return read

    def _part(self, tile: _TileImage, place: Placement, row: Mapping[str, Any]) -> Cutout:
        """Cut the bands of one image of a tile."""
        from astropy.nddata.utils import overlap_slices

        shape = tile.image.pixels.shape[1:]
        x, y = place.centre_xy
        side = max(1, round(self.side_arcsec / place.pixel_scale_arcsec))
        (rows, columns), _ = overlap_slices(shape, (side, side), (y, x), mode="trim")
        pixels = tile.image.pixels[:, rows, columns]
        inside = Placement(
            centre_xy=(x - columns.start, y - rows.start),
            pixel_scale_arcsec=place.pixel_scale_arcsec,
            jacobian=place.jacobian,
        )
        bare = {key: value for key, value in row.items() if key != "pixel_scale_arcsec"}
        image = replace(tile.image, pixels=pixels)
        return placed_cutout(bare, self.survey, image, inside, tile.bands)


@dataclass(frozen=True)
class _TileImage:
    image: FitsImage
    wcs: Any
    bands: list[str] | None


def _read(files: Mapping[str, Path], survey: Survey) -> list[_TileImage]:
    """Read all bands of a tile."""
    images, known = [], dict[tuple[Any, ...], Any]()
    for band, path in files.items():
        try:
            found = read_fits(path.read_bytes(), survey)
        except OSError as error:
            raise CutoutError(f"{path.name}: {error.strerror or error}") from error
        for image in found:
            cards = image.pixels.shape[1:], *map(str, filter(_places, image.header.cards))
            if cards not in known:
                known[cards] = celestial_wcs(image.header)
            wcs = known[cards]
            if wcs is None:
                raise CutoutError(f"{path.name}: the image has no celestial WCS")
            images.append(_TileImage(image, wcs, [band] if band else None))
    return images


def _places(card: Any) -> bool:
    return is_wcs_card(card.keyword)


def _grid(path: Path, survey: Survey) -> tuple[Any, tuple[int, int]]:
    """Return the WCS and the (y, x) size of the first image of a file, from its headers."""
    from astropy.io import fits

    try:
        with quiet(), fits.open(path, memmap=True) as hdus:
            hdu = select_hdus(hdus, survey)[0][0][1]
            wcs, shape = celestial_wcs(hdu.header), hdu.shape[-2:]
    except (OSError, CutoutError) as error:
        raise SurveyError(f"{path}: cannot be read as a tile ({first_line(error)})") from error
    if wcs is None:
        raise SurveyError(f"{path}: the image has no celestial WCS; tiles need one")
    return wcs, shape
