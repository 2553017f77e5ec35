import json

import pytest

from galaxy_da.cli import main


@pytest.mark.slow
def test_the_whole_story_as_json(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "d"), "--n", "500", "--json"]) == 0
    out = capsys.readouterr()
    result = json.loads(out.out)
    assert set(result["surveys"]) == {"sdss", "hsc"}
    for survey in result["surveys"].values():
        assert {"adapted", "unadapted", "ceiling", "chosen"} <= set(survey)
        assert survey["adapted"]["pool"] == survey["ceiling"]["pool"] > 100
        assert survey["adapted"]["distance_ratio"] < 1
    told = [line for line in out.err.splitlines() if line.startswith("$ galaxy-da ")]
    assert [line.split()[2] for line in told[:2]] == ["simulate", "crossmatch"]
    assert "<img" in (tmp_path / "d/report.html").read_text()
