import copy
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from threading import Thread

import numpy as np
import pytest
import torch
from conftest import blobs, make_space
from safetensors.torch import load_file

from galaxy_da.errors import SpaceError, StorageError, SurveyError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.inputs import Inputs
from galaxy_da.io import files, storage
from galaxy_da.io.files import write_json
from galaxy_da.io.locks import only_writer
from galaxy_da.models import space_files
from galaxy_da.models.correction import InstrumentCorrection
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey, builtin_surveys, get_survey

HSC = get_survey("hsc")


def adapted(space, scale=1.5):
    plain = space.encoder("hsc")
    network = copy.deepcopy(plain.network)
    with torch.no_grad():
        network.mean.weight.mul_(scale)
    record = {"chosen": "x", "pairs": {"train": 300}}
    return space.with_survey(replace(plain, network=network, record=record))


def corrected(space):
    """Space in which HSC has other zeropoints, sky and conditions."""
    a = space.architecture
    correction = InstrumentCorrection(a.bands, a.grids, a.conditions)
    for parameter in correction.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    plain = space.encoder("hsc")
    network = plain.network.corrected(correction)
    return space.with_survey(replace(plain, network=network, record={"chosen": "instrument"}))


def stamps(n, survey, side=140):
    """Cutouts of every band of a survey."""
    pixels = blobs(n, side, survey.pixel_scale_arcsec, bands=len(survey.bands))
    pixels /= np.float32(survey.nanomaggy_per_unit)
    middle = (side - 1) / 2
    return [
        Cutout(
            pixels=image,
            bands=survey.band_names,
            pixel_scale_arcsec=survey.pixel_scale_arcsec,
            centre_xy=(middle, middle),
        )
        for image in pixels
    ]


def tensor_file(folder, part):
    (path,) = folder.glob(f"{part}-*.safetensors")
    return path


def test_a_saved_space_gives_the_same_numbers(space, tmp_path):
    both = adapted(space)
    both.save(tmp_path / "s")
    loaded = LatentSpace.load(tmp_path / "s")
    assert loaded.surveys == ("decals", "hsc")
    assert loaded.encoder("hsc").record == {"chosen": "x", "pairs": {"train": 300}}
    assert loaded.encoder("hsc").survey == HSC
    assert loaded.id == both.id and loaded.encoder("hsc").hash == both.encoder("hsc").hash
    inputs = Inputs.plain(torch.randn(3, 3, 64, 64))
    torch.testing.assert_close(loaded.encode(inputs, "hsc"), both.encode(inputs, "hsc"))
    latents = torch.randn(3, 6)
    torch.testing.assert_close(loaded.decode(latents), both.decode(latents))


def test_a_corrected_instrument_is_saved(wide_space, tmp_path):
    both, plain = corrected(wide_space), wide_space.encoder("hsc")
    both.save(tmp_path)
    loaded = LatentSpace.load(tmp_path)
    assert loaded.encoder("hsc").hash == both.encoder("hsc").hash != plain.hash
    assert loaded.encoder("hsc").bands == ("g", "r", "z")
    inputs = plain.prepare(stamps(4, HSC, 230), wide_space.frame).inputs
    found = loaded.encode(inputs, "hsc", precision="fp32").mean
    torch.testing.assert_close(found, both.encode(inputs, "hsc", precision="fp32").mean)
    assert not torch.allclose(found, wide_space.encode(inputs, plain, precision="fp32").mean)
    assert set(load_file(tensor_file(tmp_path, "survey-hsc"))) == {
        "correction.log_gain",
        "correction.sky",
        "correction.conditions",
    }


@pytest.mark.parametrize("survey", builtin_surveys().values(), ids=lambda survey: survey.name)
def test_any_survey_is_read_by_its_definition(wide_space, survey):
    encoder = wide_space.encoder(survey)
    assert encoder.by_definition and encoder.reading == "by definition"
    assert encoder.network is wide_space.encoder("decals").network
    assert set(encoder.bands) - {None} <= set(survey.band_names)
    prepared = encoder.prepare(stamps(3, survey), wide_space.frame)
    assert prepared.problems == [None] * 3
    latents = wide_space.encode(prepared.inputs, encoder).mean
    assert latents.shape == (3, 6) and torch.isfinite(latents).all()
    assert latents.std(0).max() > 0  # a random network in bf16 may hold one still


def test_an_unknown_survey_needs_a_definition(wide_space):
    with pytest.raises(SurveyError, match="unknown survey 'nosuch'"):
        wide_space.encoder("nosuch")
    mine = HSC.model_copy(update={"name": "nosuch"})
    assert wide_space.encoder(mine).survey == mine
    with pytest.raises(SurveyError, match="band 'u' is not in this survey"):
        wide_space.encoder("hsc", ("u", "g"))


def test_an_own_definition_that_a_space_would_not_use_is_refused(space):
    both = adapted(space)
    for name in ("decals", "hsc"):  # the anchor, and an adapted survey
        known = both.survey(name)
        other = known.model_copy(update={"pixel_scale_arcsec": 0.5})
        assert both.survey(name, {name: Survey(**known.model_dump())}) == known
        with pytest.raises(SurveyError, match=f"{name}: the space holds another definition"):
            both.survey(name, {name: other})
    ps1 = get_survey("ps1").model_copy(update={"pixel_scale_arcsec": 0.5})
    assert both.survey("ps1", {"ps1": ps1}) == ps1


def test_the_anchor_is_read_without_bands_that_its_images_lack(wide_space, space):
    assert wide_space.encoder("decals", ("r",)).bands == (None, "r", None)
    assert wide_space.encoder("decals", ("g", "r", "z")) is wide_space.encoder("decals")
    assert space.encoder("decals", ("r",)).bands == ("g", "r", "z")  # is not conditioned


def test_an_adaptation_is_preferred_to_the_definition(space):
    both = adapted(space)
    assert both.encoder("hsc").reading == "adapted with 300 pairs"
    assert both.encoder("hsc", ("g", "r")).bands == ("g", "r", "z")
    assert both.by_definition(HSC).hash == space.encoder("hsc").hash
    assert both.by_definition(HSC, ("g", "r")).bands == ("g", "r", None)
    free = replace(both.encoder("hsc"), record={"chosen": "moments"})
    assert free.reading == "adapted without pairs"


def test_a_missing_band_has_no_influence(wide_space):
    """One survey lacks z; the other has it, with any depth and any pixels, but it is not used."""
    cutouts = stamps(3, HSC, 230)
    encoder = wide_space.encoder(HSC, ("g", "r"))
    assert encoder.bands == ("g", "r", None)

    def latents(encoder, cutouts):
        inputs = encoder.prepare(cutouts, wide_space.frame).inputs
        return wide_space.encode(inputs, encoder, precision="fp32").mean

    expected = latents(encoder, cutouts)
    changed = [replace(cutout, pixels=cutout.pixels.copy()) for cutout in cutouts]
    for cutout in changed:
        cutout.pixels[2:] *= 7
    deeper = HSC.model_copy(
        update={
            "bands": tuple(
                band.model_copy(update={"depth_mag": 20.0, "psf_fwhm_arcsec": 3.0})
                if band.name in "izy"
                else band
                for band in HSC.bands
            )
        }
    )
    assert torch.equal(latents(wide_space.encoder(deeper, ("g", "r")), changed), expected)
    assert not torch.equal(latents(wide_space.encoder(HSC), changed), expected)


def test_the_same_pixels_by_a_better_instrument_have_other_latents(wide_space):
    survey = get_survey("decals")
    plain = wide_space.encoder("decals")
    inputs = plain.prepare(stamps(3, survey), wide_space.frame).inputs
    sharp = [replace(cutout, psf_fwhm_arcsec=0.7) for cutout in stamps(3, survey)]
    other = plain.prepare(sharp, wide_space.frame).inputs
    assert torch.equal(inputs.images, other.images)
    one, two = (wide_space.encode(each, plain, precision="fp32").mean for each in (inputs, other))
    assert not torch.allclose(one, two)


def test_each_grid_is_decoded(wide_space):
    latents = torch.randn(2, 6)
    with torch.no_grad():
        both = wide_space.decoder(latents)
    for grid in range(2):
        image = wide_space.decode(latents, grid=grid, precision="fp32")
        torch.testing.assert_close(image, both[:, 3 * grid : 3 * grid + 3])


def test_adding_a_survey_keeps_the_anchor_and_the_old_space(space):
    both = adapted(space)
    assert both.id == space.id
    assert space.surveys == ("decals",)
    assert adapted(space, 2.0).encoder("hsc").hash != both.encoder("hsc").hash
    assert make_space(seed=1).id != space.id


def test_only_changed_tensors_are_stored(space, tmp_path):
    adapted(space).save(tmp_path)
    assert set(load_file(tensor_file(tmp_path, "survey-hsc"))) == {"mean.weight"}


def test_bf16_stays_near_fp32(space):
    inputs = Inputs.plain(torch.randn(4, 3, 64, 64))
    full = space.encode(inputs, "decals", precision="fp32").mean
    half = space.encode(inputs, "decals", precision="bf16").mean
    assert (full - half).abs().max() < 0.05 * full.std()


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_a_network_stays_on_its_device_while_it_is_used(verb):
    space = make_space()
    inputs = Inputs.plain(torch.randn(3, 3, 64, 64))
    network = space.encoder("decals").network if verb == "encode" else space.decoder

    def use(device):
        if verb == "encode":
            return space.encode(inputs, "decals", device=torch.device(device)).mean
        return space.decode(torch.ones(3, 6), device=torch.device(device))

    def move():
        with suppress(RuntimeError):  # a meta device computes nothing
            use("meta")

    alone = use("cpu")
    others = []

    def another_caller(*_):
        if not others:  # once, in the middle of the first caller's work
            others.append(Thread(target=move))
            others[0].start()
            others[0].join(0.2)
            assert others[0].is_alive()

    network.register_forward_pre_hook(another_caller)
    assert torch.equal(use("cpu"), alone)
    others[0].join()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_callers_on_two_devices_at_once():
    space = make_space()
    inputs = Inputs.plain(torch.randn(64, 3, 64, 64))
    devices = [torch.device(name) for name in ("cpu", "cuda") * 40]

    def latents(device):
        return space.encode(inputs, "decals", device=device, precision="fp32").mean

    with ThreadPoolExecutor(8) as pool:
        for mean in pool.map(latents, devices):
            torch.testing.assert_close(mean, latents(devices[0]), atol=1e-3, rtol=1e-3)


def test_no_images_give_no_latents(space):
    assert space.encode(Inputs.plain(torch.empty(0, 3, 64, 64)), "decals").mean.shape == (0, 6)
    assert space.decode(np.empty((0, 6), np.float32)).shape == (0, 3, 64, 64)


def test_bad_arguments_are_named(space):
    with pytest.raises(SpaceError, match="decals: is the anchor of this space, which"):
        space.with_survey(space.encoder("decals"))
    with pytest.raises(ValueError, match=r"shape \(n, 6\) but have \(2, 7\)"):
        space.decode(torch.zeros(2, 7))
    with pytest.raises(SpaceError, match="no latent space here"):
        LatentSpace.load("nowhere")


def test_a_hand_edited_description_is_refused(space, tmp_path):
    space.save(tmp_path)
    manifest = json.loads((tmp_path / "space.json").read_text())
    manifest["frame"]["softening"][0] = 0.08
    write_json(tmp_path / "space.json", manifest)
    with pytest.raises(SpaceError, match="was edited after it was saved"):
        LatentSpace.load(tmp_path)


def test_damaged_weights_are_refused(space, tmp_path):
    space.save(tmp_path)
    path = tensor_file(tmp_path, "decoder")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SpaceError, match=r"decoder-\w+\.safetensors: does not match the hash"):
        LatentSpace.load(tmp_path)
    path.unlink()
    with pytest.raises(SpaceError, match="is missing; copy the whole space folder"):
        LatentSpace.load(tmp_path)


@pytest.mark.parametrize("number", [1, 99])
def test_another_format_is_refused_in_one_line(space, tmp_path, number):
    space.save(tmp_path)
    manifest = json.loads((tmp_path / "space.json").read_text())
    write_json(tmp_path / "space.json", {**manifest, "format": number})
    message = f"has space format {number}, this version of galaxy_da reads 3; train or adapt"
    with pytest.raises(SpaceError, match=message) as caught:
        LatentSpace.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3"])
def test_a_file_that_describes_no_space_is_refused(tmp_path, text):
    (tmp_path / "space.json").write_text(text)
    with pytest.raises(SpaceError, match=r"space\.json: is not a space description"):
        LatentSpace.load(tmp_path)


def test_unwritable_output(space, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="could not be created"):
        space.save(tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["anchor", "decoder", "probes", "survey-a", "a.b", "con", "x" * 64]
)
def test_a_survey_may_have_any_name(space, tmp_path, name):
    survey = HSC.model_copy(update={"name": name})
    both = space.with_survey(space.encoder(survey))
    both.save(tmp_path)
    loaded = LatentSpace.load(tmp_path)
    assert loaded.id == space.id
    assert loaded.encoder(name).hash == both.encoder(name).hash


def test_the_shipped_space_can_be_saved_again(tmp_path):
    shipped = LatentSpace.load("decals")
    shipped.save(tmp_path)
    again = LatentSpace.load(tmp_path)
    assert again.id == shipped.id
    assert [probe.hash for probe in again.probes] == [probe.hash for probe in shipped.probes]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("where", ["disk", "memory://spaces/s"])
def test_a_replaced_space_leaves_no_file(space, tmp_path, monkeypatch, where):
    monkeypatch.setattr(storage, "_KEPT", timedelta(0))
    folder = storage.location(tmp_path / "s" if where == "disk" else where)
    adapted(space).save(folder)
    before = storage.list_names(folder) - {".writer"}
    adapted(space, 2.0).save(folder)
    after = storage.list_names(folder) - {".writer"}
    assert len(after) == len(before) == 4
    assert len(after - before) == 1  # the survey's own tensors


def test_two_writers_of_a_space_at_once(space, tmp_path):
    space.save(tmp_path)
    with only_writer(tmp_path), pytest.raises(StorageError, match="another process is writing"):
        adapted(space).save(tmp_path)
    assert LatentSpace.load(tmp_path).surveys == ("decals",)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("where", ["disk", "memory://spaces/s"])
@pytest.mark.parametrize("step", range(4))
def test_an_interrupted_save_leaves_the_old_space(space, tmp_path, monkeypatch, where, step):
    folder = tmp_path / "s" if where == "disk" else where
    space.save(folder)
    sync, calls = files.sync, []

    def interrupted(path):
        calls.append(path)
        if len([call for call in calls if call.suffix]) > step:
            raise KeyboardInterrupt
        sync(path)

    new = adapted(make_space(seed=1))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "sync", interrupted)
        new.save(folder)
    assert LatentSpace.load(folder).id == space.id
    new.save(folder)
    assert LatentSpace.load(folder).id == new.id


def test_a_space_replaced_while_it_is_read(space, tmp_path, monkeypatch):
    space.save(tmp_path)
    new, read = adapted(make_space(seed=1)), space_files.read_bytes

    def overtaken(path):
        monkeypatch.setattr(space_files, "read_bytes", read)
        new.save(tmp_path)
        return read(path)

    monkeypatch.setattr(space_files, "read_bytes", overtaken)
    assert LatentSpace.load(tmp_path).id == new.id
