"""Networks, objectives and ways with pose, compared at equal latent size and training time."""

from benchmarks.comparisons.run import compare_networks, compare_poses

__all__ = ["compare_networks", "compare_poses"]
