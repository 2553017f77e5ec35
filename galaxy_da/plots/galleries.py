"""Galleries of galaxies: a grid, the same galaxies in several surveys, a sheet of outliers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib import rc_context

from galaxy_da.io.samples import Flag
from galaxy_da.plots.figure import MARK, QUIET, SKY, STYLE, Plot

Picture = np.ndarray | None
"""(y, x, 3) uint8 array, or None where there is no usable cutout."""

_INCH, _CAPTION_INCH, _TITLE_INCH, _LABEL_INCH = 1.25, 0.17, 0.3, 0.9


def gallery(
    pictures: Sequence[Picture],
    captions: Sequence[str] = (),
    *,
    marked: Collection[int] = (),
    columns: int = 6,
    title: str = "",
) -> Plot:
    """Draw pictures in a grid, row by row.

    Parameters
    ----------
    pictures : sequence of (y, x, 3) uint8 array or None
        Pictures of any shapes; None leaves a place that says "no image".
    captions : sequence of str
        Text below each picture; lines are separated by newlines.
    marked : collection of int
        Places of the pictures that get a coloured frame.
    columns : int
        Largest number of pictures in a row.
    title : str
        Text above the grid.

    Raises
    ------
    ValueError
        If there is no picture, or the number of captions differs.
    """
    if not len(pictures):
        raise ValueError("a gallery needs at least one picture but got none")
    if len(captions) not in (0, len(pictures)):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures; give as many")
    across = min(columns, len(pictures))
    rows = [list(range(first, min(first + across, len(pictures))))
            for first in range(0, len(pictures), across)]  # fmt: skip
    texts = captions or [""] * len(pictures)
    grid = [[(pictures[i], texts[i], i in marked) for i in row] for row in rows]
    return _draw(grid, [""] * len(rows), title)


def across_surveys(
    rows: Mapping[str, Sequence[Picture]],
    captions: Mapping[str, Sequence[str]] | None = None,
    *,
    marked: Mapping[str, Collection[int]] | None = None,
    title: str = "",
) -> Plot:
    """Draw the same galaxies, one in each column, as several surveys show them.

    Parameters
    ----------
    rows : mapping of str to sequence of pictures
        Pictures of each row, under its name; all rows have the same length.
    captions : mapping of str to sequence of str, optional
        Texts below the pictures of some rows.
    marked : mapping of str to collection of int, optional
        Columns that get a coloured frame in some rows.
    title : str
        Text above the grid.

    Raises
    ------
    ValueError
        If there is no picture, or rows or captions differ in number.
    """
    lengths = {name: len(pictures) for name, pictures in rows.items()}
    lengths |= {f"captions of {name}": len(texts) for name, texts in (captions or {}).items()}
    if len(set(lengths.values())) != 1 or not any(lengths.values()):
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"rows must hold the same galaxies, at least one, but have: {found}")
    grid = []
    for name, pictures in rows.items():
        texts = (captions or {}).get(name) or [""] * len(pictures)
        frames = (marked or {}).get(name, ())
        grid.append(
            [(p, t, i in frames) for i, (p, t) in enumerate(zip(pictures, texts, strict=True))]
        )
    return _draw(grid, list(rows), title)


def outlier_sheet(
    pictures: Sequence[Picture],
    scores: Sequence[float],
    flags: Sequence[int],
    *,
    columns: int = 6,
    title: str = "",
) -> Plot:
    """Draw outliers with rank, score and the flags of their cutouts.

    Parameters
    ----------
    pictures : sequence of (y, x, 3) uint8 array or None
        Pictures in the order of their rank.
    scores : sequence of float
        Outlier scores.
    flags : sequence of int
        Bits of `galaxy_da.io.samples.Flag`.
    columns, title
        As for `gallery`.
    """
    captions = [
        f"{rank}: {score:.2f}\n{flag_words(bits)}"
        for rank, (score, bits) in enumerate(zip(scores, flags, strict=True), start=1)
    ]
    return gallery(pictures, captions, columns=columns, title=title)


def flag_words(flags: int) -> str:
    """Return the names of `galaxy_da.io.samples.Flag` bits."""
    return ", ".join(str(flag.name).replace("_", " ").lower() for flag in Flag(flags)) or "no flags"


@rc_context(STYLE)
def _draw(
    grid: Sequence[Sequence[tuple[Picture, str, bool]]], labels: Sequence[str], title: str
) -> Plot:
    across = max(map(len, grid))
    lines = max(text.count("\n") + bool(text) for row in grid for _, text, _ in row)
    width = across * _INCH + (_LABEL_INCH if any(labels) else 0)
    height = len(grid) * (_INCH + lines * _CAPTION_INCH) + (_TITLE_INCH if title else 0)
    plot = Plot(width, height, photographs=True)
    axes = plot.subplots(
        len(grid), across, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02}
    )
    if title:
        plot.suptitle(title, fontsize=10)
    for row, label, places in zip(grid, labels, axes, strict=True):
        for place in places[len(row) :]:
            place.set_axis_off()
        for (picture, text, mark), place in zip(row, places, strict=False):
            place.set_xticks([])
            place.set_yticks([])
            place.set_facecolor(SKY)
            place.set_box_aspect(1)
            for spine in place.spines.values():
                spine.set(color=MARK if mark else QUIET, linewidth=3.0 if mark else 0.4)
            if picture is None:
                place.text(0.5, 0.5, "no image", ha="center", va="center", color="white",
                           fontsize=7, transform=place.transAxes)  # fmt: skip
            else:
                place.imshow(picture, interpolation="nearest", aspect="auto")
            place.set_xlabel(text, fontsize=7, labelpad=2)
        places[0].set_ylabel(
            label, rotation="horizontal", ha="right", va="center", fontsize=9, labelpad=6
        )
    return plot
