"""Measure reconstruction, sky bias and divergence of each latent of a space.

``python -m benchmarks.latent_usage SPACE SAMPLE`` prints them for a sample of the space's anchor.
"""

from __future__ import annotations

import numpy as np

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace
from training.pretraining.validation import validation_metrics

__all__ = ["main"]


def main() -> None:
    """Print the validation metrics of a space on a sample of its anchor."""
    parser = command_parser("latent_usage", __doc__)
    parser.add_argument("space")
    parser.add_argument("sample")
    given = parser.parse_args()
    space, sample = LatentSpace.load(given.space), Sample(given.sample)
    encoder = space.encoder(space.anchor)
    inputs, ok = load_images(sample, np.arange(len(sample)), encoder, space.frame)
    found = validation_metrics(space, inputs[ok])
    kl = found.pop("kl_per_latent")
    print_rows("Validation", [found])
    galaxy = space.galaxy_latents
    print_rows(
        "Divergence of each latent from the prior [nat]",
        [
            {"latent": k, "kind": "galaxy" if k < galaxy else "nuisance", "kl": value}
            for k, value in enumerate(kl)
        ],
    )


if __name__ == "__main__":
    main()
