"""Compare networks, objectives and treatments of pose at equal latent size and training time."""

from benchmarks.comparisons.run import compare_networks, compare_poses

__all__ = ["compare_networks", "compare_poses"]
