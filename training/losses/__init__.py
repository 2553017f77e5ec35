"""Losses of pretraining and adaptation, one a module.

Each is a mean over images, so that weights mean the same at any batch size.
"""

from training.losses.adversarial import DomainClassifier, adversarial
from training.losses.classes import class_error
from training.losses.contrastive import contrastive
from training.losses.coral import coral
from training.losses.elbo import negative_elbo
from training.losses.kl import Beta, beta_at, freed, kl_divergence
from training.losses.mmd import mmd
from training.losses.perceptual import PerceptualDistance
from training.losses.posterior import paired, paired_kl, paired_wasserstein
from training.losses.prior import prior_mmd
from training.losses.reconstruction import inverse_variance, squared_error
from training.losses.redshift import redshift_error
from training.losses.retention import retention
from training.losses.sinkhorn import sinkhorn_divergence

__all__ = [
    "Beta",
    "DomainClassifier",
    "PerceptualDistance",
    "adversarial",
    "beta_at",
    "class_error",
    "contrastive",
    "coral",
    "freed",
    "inverse_variance",
    "kl_divergence",
    "mmd",
    "negative_elbo",
    "paired",
    "paired_kl",
    "paired_wasserstein",
    "prior_mmd",
    "redshift_error",
    "retention",
    "sinkhorn_divergence",
    "squared_error",
]
