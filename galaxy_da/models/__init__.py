"""Networks, the parts and files of a latent space, probes and the match probability."""
