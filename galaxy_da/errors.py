"""Exceptions of the library, in one tree.

::

    GalaxyDAError
    ├── SurveyError      an unknown survey, band, unit or stretch, or a bad definition file
    ├── TableError       a sample, pair or feature table that breaks its contract
    ├── CatalogError     positions or catalogues that cannot be used
    ├── CutoutError      one image that cannot be read (carries a row status)
    ├── SpaceError       a latent space that is missing, edited, or not the expected one
    ├── LatentIndexError an index that is missing, damaged, or built with another space
    ├── StorageError     an output that cannot be written, or an object store that fails
    └── ClusterError     a Dask scheduler or workers that do not answer

Bad arguments to a function are plain ``ValueError``. `SampleWarning` is the one warning.
"""

from __future__ import annotations

import re


class GalaxyDAError(Exception):
    """A mistake or fault that the user can correct; its message is one clear line.

    Examples
    --------
    >>> from galaxy_da import GalaxyDAError, LatentSpace
    >>> try:
    ...     LatentSpace.load("no-such-folder")
    ... except GalaxyDAError as error:
    ...     print(type(error).__name__)
    SpaceError
    """


class SampleWarning(UserWarning):
    """A sample whose galaxies have the colours of no galaxies."""


class SurveyError(GalaxyDAError):
    """An unknown survey, band, unit or stretch, or a bad definition file."""


class TableError(GalaxyDAError):
    """A sample, pair or feature table that breaks its contract."""


class CatalogError(GalaxyDAError):
    """Positions or catalogues that cannot be used."""


class CutoutError(GalaxyDAError):
    """One image that cannot be used.

    Parameters
    ----------
    message : str
        Problem, and the expected input.
    status : str
        Status of the row, one of `galaxy_da.io.samples.STATUSES`.
    """

    def __init__(self, message: str, status: str = "unreadable") -> None:
        super().__init__(message)
        self.status = status


class SpaceError(GalaxyDAError):
    """A latent space that is missing, edited, or not the expected one."""


class LatentIndexError(GalaxyDAError):
    """An index that is missing, damaged, or built with another space."""


class StorageError(GalaxyDAError):
    """An output that cannot be written, or an object store that fails."""


class ClusterError(GalaxyDAError):
    """A Dask scheduler or workers that do not answer."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its kind where the text names no reason.

    Addresses of objects in memory, which differ between runs, are not a reason.
    """
    lines = str(error).strip().splitlines()
    if lines and " at 0x" not in lines[0]:
        return lines[0]
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()


def shape_text(shape: tuple[int, ...]) -> str:
    """Return the shape of an array in words: ``3 x 64 x 64``."""
    return " x ".join(map(str, shape)) or "no axes"
