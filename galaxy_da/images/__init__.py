"""Read cutouts (files, bands, calibration, sky geometry) and prepare them for the networks."""
