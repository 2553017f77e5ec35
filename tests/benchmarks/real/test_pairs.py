import numpy as np
import pytest
import torch
from astropy.io import fits
from conftest import blobs

from benchmarks.real.pairs import RealPairs, cut_to_field, prepare_field, rank_real_pairs
from galaxy_da.errors import CatalogError
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

FIELD_ARCSEC = 22.0


def stamps(side, scale, bands=("g", "r", "z"), n=4):
    return [
        Cutout(pixels=p, bands=bands, pixel_scale_arcsec=scale, centre_xy=((side - 1) / 2,) * 2)
        for p in blobs(n, side, scale, bands=len(bands))
    ]


def test_ranks_by_sorting():
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.normal(size=(n, 1, 2, 2))) for n in (3, 3, 50)]
    pairs = RealPairs(
        names=("a", "b", "c"), queries=images[0], partners=images[1], distractors=images[2]
    )
    found = rank_real_pairs(pairs, lambda x: x.flatten(1), lambda x: 2 * x.flatten(1))
    pool = 2 * torch.cat(images[1:]).flatten(1)
    for i, name in enumerate(pairs.names):
        order = (pool - images[0][i].flatten()).norm(dim=1).argsort()
        assert found[name] == order.tolist().index(i) + 1


def test_images_are_cut_to_the_field():
    frame = Frame()
    cut = cut_to_field(torch.ones(1, 1, 64, 64), frame, 20.0)
    area = float(cut.sum()) * frame.pixel_scale_arcsec**2
    assert area == pytest.approx(np.pi * 100, rel=0.02)


def test_small_stamps_and_missing_bands_are_not_usable(space):
    encoder = space.encoder("decals")
    mixed = stamps(132, 0.262, n=2) + stamps(40, 0.262, n=1) + stamps(132, 0.262, ("g", "r"), n=1)
    images, usable = prepare_field(mixed, encoder, space.frame, FIELD_ARCSEC)
    assert usable.tolist() == [True, True, False, False] and len(images) == 4
    with pytest.raises(CatalogError, match="none of 2 cutouts covers 22 arcsec in g, r, z"):
        prepare_field(stamps(40, 0.262, n=2), encoder, space.frame, FIELD_ARCSEC)


def test_lists_of_different_lengths_are_refused():
    one = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="2 names, 1 queries and 1 partners"):
        RealPairs(names=("a", "b"), queries=one, partners=one, distractors=one)


def gama(folder, survey, scale, nanomaggy):
    """Return the ten galaxies in r, centred, in a survey's unit."""
    factor = nanomaggy / survey.nanomaggy_per_unit
    cutouts = {}
    for path in sorted(folder.glob("G*fitim.fits")):
        pixels = fits.getdata(path).astype(np.float32)[None] * np.float32(factor)
        height, width = pixels.shape[1:]
        cutouts[path.name[1:7]] = Cutout(
            pixels=pixels,
            bands=("r",),
            pixel_scale_arcsec=scale,
            centre_xy=((width - 1) / 2, (height - 1) / 2),
        )
    return cutouts


@pytest.mark.slow
def test_gama_galaxies_are_found_among_sdss_spirals(data):
    """Rank SDSS partners of KiDS queries among real SDSS galaxies in r, un-adapted."""
    space, kids, sdss = LatentSpace.load("decals"), get_survey("kids"), get_survey("sdss")
    readers = [space.unadapted(survey, ("r",)) for survey in (kids, sdss)]
    maggies = 1e9  # both sets carry zeropoint 0
    here = gama(data / "kids_sdss_fits/KiDS", kids, 0.2, maggies)
    there = gama(data / "kids_sdss_fits/SDSS", sdss, 0.339, maggies)
    assert list(here) == list(there) and len(here) == 10
    queries, usable = prepare_field(list(here.values()), readers[0], space.frame, FIELD_ARCSEC)
    partners, usable_too = prepare_field(
        list(there.values()), readers[1], space.frame, FIELD_ARCSEC
    )
    sample = Sample(data / "sdss_spirals.parquet")
    rows = next(iter(sample.batches(1000)))
    others = [c for c in read_cutouts(rows, sample.folder, sdss) if isinstance(c, Cutout)]
    distractors, covered = prepare_field(others, readers[1], space.frame, FIELD_ARCSEC)
    good = torch.from_numpy(usable & usable_too)
    pairs = RealPairs(
        names=tuple(name for name, ok in zip(here, good, strict=True) if ok),
        queries=queries[good],
        partners=partners[good],
        distractors=distractors[torch.from_numpy(covered)],
    )
    assert len(pairs.names) >= 5 and len(pairs.distractors) > 900
    ranks = rank_real_pairs(
        pairs,
        lambda images: space.encode(images, readers[0]).mean,
        lambda images: space.encode(images, readers[1]).mean,
    )
    print(ranks)
    assert np.median(list(ranks.values())) < 0.1 * len(pairs.distractors)
