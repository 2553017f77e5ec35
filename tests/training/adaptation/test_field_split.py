"""Adaptation and evaluation in a field smaller than the cells of wide surveys."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs, make_space, pair_table, write_sample

from catalogs.matching.pairs import PairedRows
from catalogs.splits import SkySplit, recorded_split
from evaluation.evaluate import evaluate
from evaluation.targets import TargetSurvey, known_splits
from galaxy_da.errors import CatalogError
from galaxy_da.io.samples import Sample
from galaxy_da.surveys import get_survey
from training.adaptation import AdaptSettings, FineTuningSettings, adapt

N = 240
SETTINGS = AdaptSettings(fine_tuning=FineTuningSettings(steps=0))


def field_samples(folder, arcmin):
    """Blobs in a square field, observed by DECaLS and SDSS."""
    rng = np.random.default_rng(4)
    east, north = rng.uniform(-0.5, 0.5, (2, N)) * arcmin / 60
    place = {"ra": 150 + east, "dec": 2.2 + north, "bands": ["g,r,z"] * N}
    images = blobs(N, 90, 0.396, seed=2)
    first = Sample(write_sample(folder / "decals", images, **place))
    return first, Sample(write_sample(folder / "sdss", images[:, [1, 0, 2]], "sdss", **place))


def pairs_of(first, second):
    return pair_table(first.catalog["object_id"], second.catalog["object_id"])


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    first, second = field_samples(tmp_path_factory.mktemp("field"), 15)
    pairs = pairs_of(first, second)
    space = adapt(make_space(), first, second, pairs, settings=SETTINGS)
    return space, first, TargetSurvey(sample=second, pairs=pairs, survey=get_survey("sdss"))


def test_adapting_and_evaluating_a_field_use_one_recorded_split(field):
    space, first, target = field
    record = space.encoder("sdss").record
    split = recorded_split(record)
    assert split.order > SkySplit().order
    rows = PairedRows.of(target.pairs, first, target.sample, split)
    counts = {part: len(rows.only(part)) for part in ("train", "validation", "test")}
    assert np.abs(np.array(list(counts.values())) / N - (0.7, 0.15, 0.15)).max() < 0.03
    assert record["pairs"]["validation"] == counts["validation"]
    result = evaluate(space, first, target)
    assert result.as_dict()["split"] == record["split"]
    assert result.adapted.pool == counts["test"]
    assert target.paired_rows(first, make_space()).split == split  # chosen alike by definition


def test_evaluating_takes_the_split_of_the_record(field):
    space, first, target = field
    encoder, other = space.encoder("sdss"), SkySplit(order=9, seed=5)
    changed = space.with_survey(
        replace(encoder, record={**encoder.record, "split": other.as_record()})
    )
    result = evaluate(changed, first, target)
    assert result.split == other
    ra, dec = (first.catalog[axis].to_numpy() for axis in ("ra", "dec"))
    assert result.adapted.pool == np.sum(other.part(ra, dec) == "test")


def test_spaces_without_a_record_were_adapted_with_the_wide_split(field):
    space, first, target = field
    encoder = space.encoder("sdss")
    old = {name: value for name, value in encoder.record.items() if name != "split"}
    before = space.with_survey(replace(encoder, record=old))
    assert target.paired_rows(first, before).split == SkySplit()
    assert known_splits(before) == ()


def test_another_survey_of_the_field_gets_the_same_split(field, tmp_path):
    space, first, target = field
    place = {name: target.sample.catalog[name] for name in ("ra", "dec", "bands")}
    third = Sample(write_sample(tmp_path, blobs(N, 90, 0.396, seed=2), "des", **place))
    some = pairs_of(first, third).take(np.random.default_rng(0).permutation(N)[:150])
    alone = adapt(make_space(), first, third, some, settings=SETTINGS).encoder("des").record
    after = adapt(space, first, third, some, settings=SETTINGS).encoder("des").record
    assert after["split"] == space.encoder("sdss").record["split"] != alone["split"]


def test_a_field_without_pairs_records_its_split(tmp_path):
    first, second = field_samples(tmp_path, 20)
    space = adapt(make_space(), first, second, settings=SETTINGS)
    split = recorded_split(space.encoder("sdss").record)
    assert split.order > SkySplit().order
    ra, dec = (first.catalog[axis].to_numpy() for axis in ("ra", "dec"))
    used = space.encoder("sdss").record["images"]["anchor"]
    assert used == np.sum(split.part(ra, dec) != "test")


def test_galaxies_within_an_arcminute_are_refused(tmp_path):
    first, second = field_samples(tmp_path, 0.8)
    with pytest.raises(CatalogError, match="the 240 galaxies cannot be split into train, valid"):
        adapt(make_space(), first, second, pairs_of(first, second), settings=SETTINGS)
