"""Training in several processes with Fabric and torchrun."""
