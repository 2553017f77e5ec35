"""Join the files of a folder to images, each with the bands of its planes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from catalogs.datasets.image_files import ImageFile, path_stem
from galaxy_da.errors import CutoutError
from galaxy_da.images.bands import find_band, match_bands
from galaxy_da.surveys import Survey

__all__ = ["FolderImage", "join_files"]

_TOKEN = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, kw_only=True)
class FolderImage:
    """An image of one galaxy, in one file or one file per band.

    Attributes
    ----------
    name : str
        Path below the folder, with ``{band}`` in place of the band of several files.
    files : tuple of ImageFile
        The files; the first one gives size, position and cards.
    bands : str or None
        Value of the sample's column ``bands``; None where the reader finds them.
    shown : str
        Bands of the planes, in order.
    origin : str
        Origin of the bands: header, file names, declared, survey or stretch.
    """

    name: str
    files: tuple[ImageFile, ...]
    bands: str | None
    shown: str
    origin: str

    @property
    def stem(self) -> str:
        """Name without folder, suffix and band."""
        return PurePosixPath(self.path).name

    @property
    def path(self) -> str:
        """Path without suffix and band."""
        path = re.sub(r"[-_. ]*\{band\}(?=[/]|$)|\{band\}[-_. ]*", "", path_stem(self.name))
        return path.strip("/") or path_stem(self.name)


def join_files(
    files: Sequence[ImageFile],
    survey: Survey,
    declared: Sequence[str],
    is_id: Callable[[str], bool],
    refuse: Callable[[str, str], None],
) -> list[FolderImage]:
    """Join files of one band each, and find the bands of every image.

    Parameters
    ----------
    files : sequence of ImageFile
        Files of the folder.
    survey : Survey
        Survey of the images.
    declared : sequence of str
        Bands of planes that nothing names, in order; of one file per band, those to use.
    is_id : callable
        Test if the name of a file without suffix is an id as it stands.
    refuse : callable
        Called with the name of a file that cannot be used, and the reason.

    Returns
    -------
    list of FolderImage
        In the order of the files.
    """
    groups: dict[str, list[tuple[str, ImageFile]]] = {}
    for file in files:
        stem = PurePosixPath(path_stem(file.name)).name
        split = None
        if file.kind == "FITS" and file.shape[0] == 1 and len(survey.bands) > 1:
            split = _split_band(file.name, len(stem) if is_id(stem) else 0, survey)
        pattern, band = split or (file.name, "")
        groups.setdefault(pattern, []).append((band, file))
    images = []
    for pattern, members in groups.items():
        try:
            images.append(_join(pattern, members, survey, declared))
        except CutoutError as error:
            for _, file in members:
                refuse(file.name, str(error))
    return images


def _split_band(name: str, kept: int, survey: Survey) -> tuple[str, str] | None:
    """Return a path with ``{band}`` in place of its last word that is a band, and that word.

    The last `kept` letters before the suffix hold none.
    """
    stem = path_stem(name)
    for token in reversed(list(_TOKEN.finditer(stem[: len(stem) - kept]))):
        if find_band(token[0], survey):
            return f"{name[: token.start()]}{{band}}{name[token.end() :]}", token[0]
    return None


def _join(
    pattern: str,
    members: list[tuple[str, ImageFile]],
    survey: Survey,
    declared: Sequence[str],
) -> FolderImage:
    (band, first), *others = members
    stated = _stated(first, survey)
    is_sure = band in survey.band_names and stated in (None, [find_band(band, survey)])
    if not others and not is_sure:
        return _single(first, stated, survey, declared)
    for band, file in members:
        header = _stated(file, survey)
        if header and header != [find_band(band, survey)]:
            raise CutoutError(
                f"the name says band {find_band(band, survey)} but the header says {header[0]}; "
                "rename the file or correct its card"
            )
    wanted = {find_band(name, survey) for name in declared} or set(survey.band_names)
    order = survey.band_names.index
    kept = sorted(
        (m for m in members if find_band(m[0], survey) in wanted),
        key=lambda member: order(str(find_band(member[0], survey))),
    )
    if not kept:
        raise CutoutError(f"of no band of {', '.join(declared)}")
    names = [band for band, _ in kept]
    match_bands(names, len(names), survey)
    shown = ",".join(str(find_band(band, survey)) for band in names)
    return FolderImage(
        name=pattern, files=tuple(file for _, file in kept), bands=",".join(names), shown=shown,
        origin="file names",
    )  # fmt: skip


def _single(
    file: ImageFile, stated: list[str | None] | None, survey: Survey, declared: Sequence[str]
) -> FolderImage:
    """Return the image of one file, its bands stated by its header, or declared."""
    wanted = [find_band(name, survey) for name in declared]
    if file.kind == "picture" and declared and wanted != file.bands:
        raise CutoutError(
            f"a picture has the bands of its stretch ({', '.join(file.bands or [])}); leave out "
            "--bands"
        )
    if file.kind == "picture":
        shown = ",".join(file.bands or [])
        return FolderImage(name=file.name, files=(file,), bands=None, shown=shown, origin="stretch")
    planes = file.shape[0]
    if stated is None and declared:
        names: Sequence[str] | None = declared
        origin, bands = "declared", ",".join(declared)
    elif stated is None and planes == len(survey.bands) == 1:
        names, origin, bands = None, "survey", None
    elif file.bands is None:
        raise CutoutError(
            f"neither header nor file name says which bands the planes are (it has {planes}); "
            "declare them in order by --bands"
        )
    else:
        names, origin, bands = file.bands, "header", None
    found = match_bands(names, planes, survey)
    if origin == "header" and declared and wanted != found:
        raise CutoutError(
            f"the header says bands {', '.join(names or [])} but {', '.join(declared)} are "
            "declared; leave out --bands, or correct the header"
        )
    shown = ",".join(band or f"({name})" for band, name in zip(found, names or found, strict=True))
    return FolderImage(name=file.name, files=(file,), bands=bands, shown=shown, origin=origin)


def _stated(file: ImageFile, survey: Survey) -> list[str | None] | None:
    """Return the survey's bands that a header states for all planes, None if it does not."""
    if file.bands is None or len(file.bands) != file.shape[0]:
        return None
    found = [find_band(name, survey) for name in file.bands]
    return found if any(found) else None
