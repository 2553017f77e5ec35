"""Read cutouts, calibrate them and prepare them in the frame that the networks read."""
