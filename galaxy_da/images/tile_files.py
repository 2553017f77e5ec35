"""Find the files of coadded tiles by the pattern of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from galaxy_da.errors import SurveyError
from galaxy_da.images.bands import find_band
from galaxy_da.surveys import Survey

_TOKEN = re.compile(r"(\*|\{band\}|\{tile\})")
_HELP = (
    "write * for what differs between tiles and {{band}} for {bands}; where other parts of the "
    "names differ too, write {{tile}} for the tile and * for those"
)

_Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TileFiles:
    """Files of one tile.

    Attributes
    ----------
    images : dict
        File of each band, in the survey's order, or one of all bands, named "".
    planes : list of (band, path)
        Files of masks, weights and noise, and the band of each, or "".
    """

    images: dict[str, Path]
    planes: list[tuple[str, Path]] = field(default_factory=list)

    @property
    def first(self) -> Path:
        """File of the first band."""
        return next(iter(self.images.values()))

    def paths(self) -> list[Path]:
        """Return all files."""
        return [*self.images.values(), *(path for _, path in self.planes)]


def find_tiles(files: str, planes: tuple[str, ...], survey: Survey) -> tuple[TileFiles, ...]:
    """Return the tiles whose names follow a pattern, in order of their names.

    Parameters
    ----------
    files : str
        Pattern of the images, with ``{band}`` for the band, as the survey or the camera spells it
        (``g``, ``HSC-G``), and ``*`` for what differs between tiles. Where more differs, ``{tile}``
        is the tile and ``*`` anything.
    planes : tuple of str
        Patterns of masks, weights and noise in files of their own; without ``{band}`` they are of
        every band.
    survey : Survey
        Survey of the tiles.

    Raises
    ------
    SurveyError
        If there is no tile, a tile lacks a plane, or two files are of one tile and band.
    """
    images = _grouped(files, survey)
    if not images:
        help_text = _HELP.format(bands=", ".join(survey.band_names))
        raise SurveyError(f"{files}: no such files; {help_text}")
    tiles = []
    for key in sorted(images):
        found = images[key]
        ordered = {band: found[band] for band in ("", *survey.band_names) if band in found}
        tiles.append(TileFiles(images=ordered))
    for pattern in planes:
        others = _grouped(pattern, survey)
        for key, tile in zip(sorted(images), tiles, strict=True):
            bands = tile.images if "{band}" in pattern and "" not in tile.images else None
            tile.planes.extend(_planes_of(tile, others.get(key, {}), bands, pattern))
    return tuple(tiles)


def _planes_of(
    tile: TileFiles,
    found: Mapping[str, Path],
    bands: Mapping[str, Path] | None,
    pattern: str,
) -> Iterator[tuple[str, Path]]:
    """Yield the planes of a tile: of its bands, or all that there are."""
    missing = [band for band in bands or () if band not in found]
    if missing or not found:
        of_bands = f" of {', '.join(missing)}" if missing else ""
        raise SurveyError(
            f"{pattern}: no such file{of_bands} for the tile of {tile.first.name}; the parts of "
            "both names that * or {tile} stands for must be the same"
        )
    yield from ((band, path) for band, path in found.items() if bands is None or band in bands)


def _grouped(pattern: str, survey: Survey) -> dict[_Key, dict[str, Path]]:
    """Return the files that follow a pattern, by tile and band."""
    path = Path(pattern)
    has_tile, has_band = "{tile}" in pattern, "{band}" in pattern
    named: set[str] = set()
    parts = []
    for part in _TOKEN.split(str(path)):
        if part == "*":
            parts.append("[^/]*" if has_tile else "([^/]*)")
        elif part in ("{band}", "{tile}"):
            name = part[1:-1]
            parts.append(f"(?P={name})" if name in named else f"(?P<{name}>[^/]*?)")
            named.add(name)
        else:
            parts.append(re.escape(part))
    shape = re.compile("".join(parts))
    below = _TOKEN.sub("*", str(path.relative_to(path.anchor)).replace("[", "[[]"))
    grouped: dict[_Key, dict[str, Path]] = {}
    for file in sorted(Path(path.anchor).glob(below)):
        match = shape.fullmatch(str(file))
        band = find_band(match["band"], survey) if match and has_band else ""
        if match is None or band is None:
            continue
        spelled = match["band"] if has_band else None
        key = (match["tile"],) if has_tile else _key(match, spelled)
        earlier = grouped.setdefault(key, {}).setdefault(band, file)
        if earlier != file:
            raise SurveyError(
                f"{earlier} and {file.name} are of the same tile"
                + (f" and band {band}" if band else "")
                + "; "
                + _HELP.format(bands=", ".join(survey.band_names))
            )
    return grouped


def _key(match: re.Match[str], band: str | None) -> _Key:
    """Return what ``*`` stands for in a name, without the band."""
    skipped = match.re.groupindex.get("band") if band is not None else None
    return tuple(text for number, text in enumerate(match.groups(), 1) if number != skipped)
