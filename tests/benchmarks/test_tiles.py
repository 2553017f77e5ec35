"""Every peer cuts the same galaxies out of the same tiles."""

import sys

import numpy as np

from benchmarks import tiles


def test_peers_cut_the_same_pixels_and_a_missing_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "_missing", lambda python: "cutana is not installed in python")
    rows = tiles.tile_rows(30, 1, sides=[10.0], tile_px=500, tiles=2)
    ours, astropy, cutana = rows
    assert ours["peer"] == "ours" and ours["ratio"] == 1
    assert astropy["same"] == 1 and astropy["ratio"] > 0
    assert cutana == {
        "side_arcsec": 10.0,
        "peer": "cutana",
        "note": "cutana is not installed in python",
    }


def test_moved_windows_are_compared_where_they_overlap(tmp_path):
    tile = np.random.default_rng(0).normal(size=(2, 40, 40))
    for name, (x, y), error in (("ours", (5, 6), 0), ("peer", (7, 3), 1)):
        pixels = tile[:, y : y + 20, x : x + 20].copy()
        pixels[0, 5, 5] += error
        np.savez(tmp_path / f"{name}.npz", pixels=pixels[None], origin_xy=np.array([[x, y]]))
    assert tiles._same(tmp_path, "ours") == 1
    assert tiles._same(tmp_path, "peer") == 1 - 1 / (2 * 17 * 18)


def test_a_python_without_cutana_is_named():
    assert tiles._missing(sys.executable) in (
        "",
        f"cutana is not installed in {sys.executable.rsplit('/', 1)[-1]}",
    )
