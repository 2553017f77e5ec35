"""Terms of the adaptation loss, one a module.

Each is a mean over galaxies and latents, so that weights mean the same at any batch size.
"""

from training.alignment.adversarial import DomainClassifier, adversarial
from training.alignment.contrastive import contrastive
from training.alignment.coral import coral
from training.alignment.mmd import mmd
from training.alignment.posterior import paired, paired_kl, paired_wasserstein
from training.alignment.retention import retention
from training.alignment.sinkhorn import sinkhorn_divergence

__all__ = [
    "DomainClassifier",
    "adversarial",
    "contrastive",
    "coral",
    "mmd",
    "paired",
    "paired_kl",
    "paired_wasserstein",
    "retention",
    "sinkhorn_divergence",
]
