"""Check a whole sample: how many rows lie outside the domain, and the colours of the others.

Many rows outside show a mistake that all of them share, such as a zeropoint that is 2.5 mag off.
A wrong zeropoint makes one galaxy redder or bluer than it is, and such galaxies exist. The median
of a sample shows it: galaxies lie near a line in the plane of two colours. The check needs three
bands, 20 galaxies, and a space that knows this line. It does not notice a smaller error that all
bands share, and one of 0.3 mag in the bluest band only in some samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from threading import Lock
from typing import NamedTuple
from zlib import crc32

import numpy as np
from astropy.stats import mad_std

from galaxy_da.extraction.summary import photometry_of
from galaxy_da.models.colours import colour_residuals, colour_slope
from galaxy_da.space import LatentSpace

_BANDS = 3
_SHIFTS, _EXPLAINED = np.linspace(-3, 3, 61), 0.5  # errors [mag] that are tried; share of tolerance
_FEWEST, _SIGNAL = 20, 10.0  # galaxies, and their least signal over noise in each band
_MOST = 10_000  # galaxies of a survey that are kept
_FEWEST_ROWS, _MOST_OUTSIDE = 50, 0.2  # rows, and the share outside the domain; real ones: 0.07
_SLOPES = (1.2, 4.2)  # of median galaxies: g - r from 0.35 to 1.2 mag
_TOLERANCE_MAG = 0.17  # real samples are within 0.08 mag
_SIGMAS, _MEDIAN = 3.0, 1.25  # least significance; error of a median over that of a mean


class _Colours(NamedTuple):
    """Median slope, distance from the relation and its tolerance [mag]."""

    slope: float
    off: float
    tolerance: float

    def plausible(self, share: float = 1.0) -> bool:
        """Test if the colours are those of galaxies, within a share of the tolerance."""
        return _SLOPES[0] <= self.slope <= _SLOPES[1] and abs(self.off) <= share * self.tolerance


class _Kept:
    """A random sample of rows, bounded in memory and independent of their order."""

    def __init__(self) -> None:
        self.seen = 0
        self._parts: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        """Add (n, k) rows."""
        self.seen += len(rows)
        self._parts.append(rows)
        if sum(map(len, self._parts)) > 2 * _MOST:
            self._parts = [self.rows()]

    def rows(self) -> np.ndarray:
        """Return the rows of the smallest checksums, at most `_MOST`."""
        rows = np.concatenate(self._parts)
        if len(rows) <= _MOST:
            return rows
        checksums = [crc32(row.tobytes()) for row in rows]
        return np.asarray(rows[np.argsort(checksums, kind="stable")[:_MOST]])


class SampleCheck:
    """Colours of the galaxies that an extraction has read, and reasons to lie outside the domain.

    Of each survey a random sample of colours is kept. Threads may add rows at once.
    """

    def __init__(self, space: LatentSpace) -> None:
        self._frame = space.frame
        self._relation = None if space.domain is None else space.domain.colours
        self._found: dict[tuple[str, tuple[str | None, ...]], _Kept] = {}
        self._reasons: dict[str, Counter[str | None]] = {}
        self._lock = Lock()

    def add(self, survey: str, bands: tuple[str | None, ...], summaries: np.ndarray) -> None:
        """Add the (n, inputs) summaries of usable cutouts; `bands` are those in the planes."""
        if self._relation is None or None in bands or len(bands) != _BANDS:
            return
        found = photometry_of(summaries, self._frame)
        use = (found.signal > _SIGNAL).all(1)
        rows = np.concatenate([found.magnitudes[use], found.wavelengths_nm[use]], 1)
        with self._lock:
            self._found.setdefault((survey, bands), _Kept()).add(rows)

    def count(self, survey: str, reasons: Sequence[str | None]) -> None:
        """Count usable rows by their reason to lie outside the domain, None for those inside."""
        with self._lock:
            self._reasons.setdefault(survey, Counter()).update(reasons)

    def warnings(self) -> list[str]:
        """Return a sentence about each survey with too many rows outside, or with odd colours."""
        said = []
        for survey, counts in self._reasons.items():
            rows, outside = counts.total(), counts.total() - counts[None]
            if rows >= _FEWEST_ROWS and outside > _MOST_OUTSIDE * rows:
                words = [f"{word} ({n})" for word, n in counts.most_common() if word][:2]
                said.append(
                    f"{survey}: {outside} of {rows} rows lie outside the domain, most often: "
                    f"{'; '.join(words)}; check the units, the zeropoints and the survey definition"
                )
        for (survey, bands), kept in self._found.items():
            magnitudes, wavelengths = np.split(kept.rows(), 2, axis=1)
            if len(magnitudes) < _FEWEST:
                continue
            colours = self._medians(magnitudes, wavelengths)
            if not colours.plausible():
                causes = self._causes(magnitudes, wavelengths, [str(band) for band in bands])
                first, middle, last = bands
                said.append(
                    f"{survey}: the median colours of {kept.seen} galaxies are not those of "
                    f"galaxies: {middle} - {last} is {colours.off:+.2f} mag from its value beside "
                    f"{first} - {middle}, with a tolerance of {colours.tolerance:.2f}; "
                    f"{' or '.join(causes) or 'the bands or the units may be wrong'}"
                )
        return said

    def _medians(self, magnitudes: np.ndarray, wavelengths: np.ndarray) -> _Colours:
        assert self._relation is not None
        frame_nm = np.array(self._frame.wavelengths_nm)
        off = colour_residuals(self._relation, magnitudes, wavelengths, frame_nm)
        error = _SIGMAS * _MEDIAN * mad_std(off) / np.sqrt(len(off))
        slope = float(np.median(colour_slope(magnitudes, wavelengths)))
        return _Colours(slope, float(np.median(off)), max(_TOLERANCE_MAG, float(error)))

    def _causes(
        self, magnitudes: np.ndarray, wavelengths: np.ndarray, bands: Sequence[str]
    ) -> list[str]:
        """Return other orders of the bands, and errors of zeropoints, that explain the colours."""
        causes = [
            f"the order of the bands may be {', '.join(bands[k] for k in order)}"
            for order in list(permutations(range(_BANDS)))[1:]
            if self._medians(magnitudes[:, np.argsort(order)], wavelengths).plausible()
        ]
        for band, name in enumerate(bands):
            for mag in sorted(_SHIFTS, key=abs):
                error = mag * np.eye(_BANDS)[band]
                if self._medians(magnitudes - error, wavelengths).plausible(_EXPLAINED):
                    causes.append(f"the magnitudes of {name} may be off by {mag:+.1f}")
                    break
        return causes
