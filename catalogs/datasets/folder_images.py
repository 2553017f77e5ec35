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


@dataclass(frozen=True, kw_only=True)
class FolderImage:
    """An image of one galaxy, in one file or one file per band."""

    name: str  # path below the folder, with {band} in place of the band of several files
    files: tuple[ImageFile, ...]  # the first one gives size, position and cards
    bands: str | None  # value of the column `bands`; None where the reader finds them
    shown: str  # bands of the planes, in order
    origin: str  # of the bands: header, file names, declared, survey or stretch

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

    `declared` are the bands of planes that nothing names, in order; of one file per band, those to
    use. `is_id` tests if a name without suffix is an id as it stands. `refuse` is called with the
    name of a file that cannot be used, and the reason.
    """
    groups: dict[str, list[tuple[str, ImageFile]]] = {}
    for file in files:
        stem = PurePosixPath(path_stem(file.name)).name
        pattern, band = file.name, ""
        if file.kind == "FITS" and file.shape[0] == 1 and len(survey.bands) > 1:
            pattern, band = _split_band(file.name, len(stem) if is_id(stem) else 0, survey)
        groups.setdefault(pattern, []).append((band, file))
    images = []
    for pattern, members in groups.items():
        try:
            images.append(_join(pattern, members, survey, declared))
        except CutoutError as error:
            for _, file in members:
                refuse(file.name, str(error))
    return images


def _split_band(name: str, kept: int, survey: Survey) -> tuple[str, str]:
    """Return a path with ``{band}`` for its last word that is a band, and that word, else empty.

    The last `kept` letters before the suffix hold none.
    """
    stem = path_stem(name)
    for token in reversed(list(re.finditer("[A-Za-z0-9]+", stem[: len(stem) - kept]))):
        if find_band(token[0], survey):
            return f"{name[: token.start()]}{{band}}{name[token.end() :]}", token[0]
    return name, ""


def _join(
    pattern: str, members: list[tuple[str, ImageFile]], survey: Survey, declared: Sequence[str]
) -> FolderImage:
    found = [find_band(band, survey) for band, _ in members]
    stated = [_stated(file, survey) for _, file in members]
    is_sure = members[0][0] in survey.band_names and stated[0] in (None, found[:1])
    if len(members) == 1 and not is_sure:
        return _single(members[0][1], stated[0], survey, declared)
    for band, header in zip(found, stated, strict=True):
        if header and header != [band]:
            raise CutoutError(
                f"the name says band {band} but the header says {header[0]}; rename the file or "
                "correct its card"
            )
    wanted = {find_band(name, survey) for name in declared} or set(survey.band_names)
    kept = [
        i for name in survey.band_names if name in wanted for i, b in enumerate(found) if b == name
    ]
    if not kept:
        raise CutoutError(f"of no band of {', '.join(declared)}")
    names = [members[i][0] for i in kept]
    shown = match_bands(names, len(names), survey)
    return FolderImage(
        name=pattern,
        files=tuple(members[i][1] for i in kept),
        bands=",".join(names),
        shown=",".join(map(str, shown)),
        origin="file names",
    )


def _single(
    file: ImageFile, stated: list[str | None] | None, survey: Survey, declared: Sequence[str]
) -> FolderImage:
    """Return the image of one file, its bands stated by its header, or declared."""
    names, planes = file.bands, file.shape[0]
    wanted = [find_band(name, survey) for name in declared]
    if file.kind == "picture":
        shown, origin = ",".join(names or []), "stretch"
        if declared and wanted != names:
            raise CutoutError(
                f"a picture has the bands of its stretch ({', '.join(names or [])}); leave out "
                "--bands"
            )
        return FolderImage(name=file.name, files=(file,), bands=None, shown=shown, origin=origin)
    origin = "header"
    if stated is None and declared:
        names, origin = list(declared), "declared"
    elif stated is None and planes == len(survey.bands) == 1:
        names, origin = None, "survey"
    elif names is None:
        raise CutoutError(
            f"neither header nor file name says which bands the planes are (it has {planes}); "
            "declare them in order by --bands"
        )
    found = match_bands(names, planes, survey)
    if origin == "header" and declared and wanted != found:
        raise CutoutError(
            f"the header says bands {', '.join(names or [])} but {', '.join(declared)} are "
            "declared; leave out --bands, or correct the header"
        )
    bands = ",".join(declared) if origin == "declared" else None
    shown = ",".join(band or f"({name})" for band, name in zip(found, names or found, strict=True))
    return FolderImage(name=file.name, files=(file,), bands=bands, shown=shown, origin=origin)


def _stated(file: ImageFile, survey: Survey) -> list[str | None] | None:
    """Return the survey's bands that a header states for all planes, None if it does not."""
    if file.bands is None or len(file.bands) != file.shape[0]:
        return None
    found = [find_band(name, survey) for name in file.bands]
    return found if any(found) else None
