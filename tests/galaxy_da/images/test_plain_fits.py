"""Plain FITS files, against astropy."""

import io

import numpy as np
import pytest
from astropy.io import fits

from galaxy_da.images.plain_fits import read_plain


def written(hdus):
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


def cube(dtype=np.float32, **cards):
    pixels = np.random.default_rng(0).normal(size=(3, 50, 41)).astype(dtype)
    return fits.PrimaryHDU(pixels, fits.Header({"BUNIT": "nanomaggy", "CRVAL1": 1 / 3, **cards}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cards", [{}, {f"CARD{i}": "END" for i in range(70)}])
def test_reads_what_astropy_reads(dtype, cards):
    content = written([cube(dtype, **cards)])
    plain = read_plain(content)
    with fits.open(io.BytesIO(content)) as hdus:
        np.testing.assert_array_equal(plain.data, hdus[0].data)
        assert [card.image for card in plain.header.cards] == [
            card.image for card in hdus[0].header.cards
        ]
        assert (plain.name, plain.shape, plain.is_image) == (hdus[0].name, hdus[0].shape, True)


def test_leaves_all_other_files_to_astropy():
    content = written([cube()])
    integers = fits.PrimaryHDU(np.ones((20, 20), np.int16))
    scaled = bytearray(content)
    place = content.index(b"CRVAL1  =")
    scaled[place : place + 9] = b"BSCALE  ="
    others = [
        written([integers]),
        written([cube(), fits.ImageHDU(np.ones((20, 20)))]),
        written([fits.PrimaryHDU(), fits.ImageHDU(np.ones((20, 20)))]),
        bytes(scaled),
        content[:-2880],
        content + b"\0",
        content[:2000],
        b"",
    ]
    assert [read_plain(other) for other in others] == [None] * len(others)
