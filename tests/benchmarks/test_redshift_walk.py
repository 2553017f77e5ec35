import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import blobs, write_sample
from PIL import Image

from benchmarks.redshift_walk import main, over_redshift, redshift_walk
from galaxy_da.errors import StorageError, TableError
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Architecture
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import get_survey
from training.pretraining.conditional import ConditionalAutoencoder, save_conditional
from training.pretraining.image_source import standard_redshift
from training.pretraining.learner import Batch

SMALL = Architecture(widths=(8, 16, 16), features=32, latents=6)


@pytest.fixture
def folder(tmp_path):
    """Save a space of a conditional network that decodes bright images."""
    torch.manual_seed(0)
    model = ConditionalAutoencoder(SMALL, "cvae2", centre=0.2, spread=0.1)
    with torch.no_grad():
        model.decoder.body[-1].weight.mul_(20)
        model.decoder.body[-1].bias.fill_(2.0)  # brighter than the sky
    plain = model.plain(0.2)
    decals = SurveyEncoder(
        survey=get_survey("decals"), bands=("g", "r", "z"), network=plain.encoder
    )
    LatentSpace(
        SpaceParts(
            architecture=SMALL,
            frame=Frame(),
            anchor="decals",
            encoders={"decals": decals},
            decoder=plain.decoder,
        )
    ).save(tmp_path / "space")
    save_conditional(model, tmp_path / "space")
    return tmp_path / "space"


def sample_with(folder, redshift):
    return Sample(write_sample(folder / "sky", blobs(20, 140, 0.262), redshift=redshift))


def test_picture_has_one_galaxy_a_row_over_redshift(folder, tmp_path, monkeypatch, capsys):
    redshift = pa.array([None, *np.linspace(0.0, 0.4, 19)])
    sample = sample_with(tmp_path, redshift)
    picture, steps = redshift_walk(folder, sample)
    assert picture.shape == (8 * 66 - 2, 10 * 66 - 2, 3)
    np.testing.assert_allclose(steps[[0, -1]], np.quantile(np.linspace(0, 0.4, 19), (0.05, 0.95)))
    first, last = (picture[:64, 66 * k : 66 * k + 64].astype(int) for k in (1, 9))
    assert np.abs(first - last).max() > 2
    out = tmp_path / "walk.png"
    monkeypatch.setattr(sys, "argv", ["walk", str(folder), str(sample.path), "--out", str(out)])
    main()
    assert np.array_equal(np.asarray(Image.open(out)), picture)
    assert "observed, then redshift 0.02" in capsys.readouterr().out


@pytest.mark.parametrize("condition", ["cvae", "cvae2", "cvae-predict"])
def test_structure_is_kept_over_redshift(condition):
    torch.manual_seed(0)
    model = ConditionalAutoencoder(SMALL, condition, centre=0.5, spread=0.2)
    for parameter in model.parameters():  # away from the zeros of the initial state
        torch.nn.init.normal_(parameter, std=0.1)
    model.requires_grad_(False).eval()
    some = Batch(torch.randn(3, 3, 64, 64), torch.full((3,), 0.4), torch.full((3,), -1))
    drawn = over_redshift(model, some.images, some.redshift, torch.tensor([0.2, 0.4, 0.8]))
    assert drawn.shape == (3, 3, 3, 64, 64)
    torch.testing.assert_close(drawn[:, 1], model.reconstruct(some))
    mean = model.encode(some)[0].mean
    torch.testing.assert_close(drawn[:, 2], model.plain(0.8).decoder(mean), rtol=1e-4, atol=1e-4)


def test_simulated_sky_gets_the_redshifts_of_training(folder, tmp_path):
    sample = sample_with(tmp_path, pa.nulls(20, pa.float64()))
    magnitude = np.linspace(17, 21, 20)
    ids = sample.catalog["object_id"].to_pylist()
    truth = pa.table({"decals_id": ids[::-1], "r_mag": magnitude})
    _, steps = redshift_walk(folder, sample, truth)
    expected = np.quantile(standard_redshift(magnitude), (0.05, 0.95))
    np.testing.assert_allclose(steps[[0, -1]], expected, rtol=1e-6)
    with pytest.raises(TableError, match="columns decals_id and r_mag"):
        redshift_walk(folder, sample, truth.drop_columns("r_mag"))


def test_missing_redshifts_and_networks_are_refused(folder, tmp_path):
    with pytest.raises(TableError, match="no usable galaxy has a redshift"):
        redshift_walk(folder, sample_with(tmp_path, pa.nulls(20, pa.float64())))
    (folder / "conditional.safetensors").unlink()
    with pytest.raises(StorageError, match="holds no conditional network"):
        redshift_walk(folder, sample_with(tmp_path, np.zeros(20)))
