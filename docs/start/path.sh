#!/usr/bin/env bash
# The commands of "Ten minutes" and "Thirty minutes" in one script, for a folder cutouts/ of FITS images of
# your own survey, first.fits among them. Run it again to go on: steps that need the network are done once.
set -euo pipefail

# Ten minutes: neighbours of your own cutouts
galaxy-da surveys --new mine.toml --from cutouts/first.fits --set name=mine --set title="My camera" --set psf_fwhm_arcsec=1.1
galaxy-da surveys --file mine.toml
galaxy-da sample cutouts --survey mine.toml --out mine/sample.parquet
galaxy-da extract --space decals --sample mine/sample.parquet --survey-file mine.toml --out features/by-definition
galaxy-da index features/by-definition --out index
galaxy-da similar index --image cutouts/first.fits --survey mine.toml --space decals -k 5
galaxy-da outliers index -k 5

# Thirty minutes: adapt the space to your survey
[ -e decals/sample.parquet ] || galaxy-da fetch decals --catalog mine/sample.parquet --size-arcsec 40 --out decals
galaxy-da crossmatch decals/sample.parquet mine/sample.parquet --out pairs.parquet
galaxy-da adapt --space decals --anchor decals/sample.parquet --target mine/sample.parquet --pairs pairs.parquet --survey mine.toml --out my-space
galaxy-da evaluate --space my-space --anchor decals/sample.parquet --target mine/sample.parquet --pairs pairs.parquet --out report
galaxy-da extract --space my-space --sample decals/sample.parquet --out features/decals
galaxy-da extract --space my-space --sample mine/sample.parquet --out features/mine
galaxy-da index features/decals features/mine --out both
galaxy-da similar both --id mine:first -k 5 --in decals
galaxy-da export features/mine --out catalogue.fits
