"""From a simulated sky to a report without a file on this machine."""

import json

import pytest

from galaxy_da.cli import main
from galaxy_da.io.features import Features
from galaxy_da.io.tables import read_table

SKY = "memory://sky"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_story_at_a_url(store, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(line):
        capsys.readouterr()
        assert main(line.format(sky=SKY).split()) == 0
        return capsys.readouterr().out

    made = run("simulate --surveys decals,sdss --n 220 --seed 1 --out {sky} --json")
    assert json.loads(made)["truth"] == f"{SKY}/truth.parquet"
    samples = "{sky}/decals/sample.parquet {sky}/sdss/sample.parquet"
    run(f"crossmatch {samples} --out {{sky}}/pairs.parquet --centred {{sky}}/centred")
    same = "--anchor {sky}/decals/sample.parquet --target {sky}/sdss/sample.parquet"
    same += " --pairs {sky}/pairs.parquet"
    run(f"adapt --space decals {same} --steps 0 --out {{sky}}/space")
    for survey in ("decals", "sdss"):
        sample = f"{{sky}}/{survey}/sample.parquet"
        run(f"extract --space {{sky}}/space --sample {sample} --out {{sky}}/features/{survey}")
    run("index {sky}/features/decals {sky}/features/sdss --out {sky}/index")
    assert "whole" in run("index info {sky}/index --check")
    run("map {sky}/index --method pca")
    run("outliers {sky}/index --survey sdss -k 5 --out {sky}/odd.parquet")
    assert read_table(f"{SKY}/odd.parquet").num_rows == 5
    for ending in (".fits", ".vot", ".parquet", ""):
        run(f"export {{sky}}/features/sdss --out {{sky}}/catalogue{ending}")
    n = Features.open(f"{SKY}/features/sdss").table.num_rows
    for one, other in ((".fits", ".vot"), (".parquet", "")):
        pair = f"{{sky}}/catalogue{one} {{sky}}/catalogue{other}"
        found = run(f"crossmatch {pair} --repeat --out {{sky}}/self.parquet --json")
        assert json.loads(found)["n_pairs"] == n
    run(f"evaluate --space {{sky}}/space {same} --out {{sky}}/report")
    assert "/sky/report/report.html" in store
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
