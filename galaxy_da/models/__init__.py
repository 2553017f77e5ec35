"""Networks, devices, probes and the match probability."""
