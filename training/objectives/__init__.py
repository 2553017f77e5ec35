"""Terms of the pretraining objective, one a module.

Each term is a mean over images. Terms in nats are divided by the numbers in one image where they
meet the reconstruction, which is a mean over pixels, so that weights mean the same at any size.
"""

from training.objectives.classes import class_error
from training.objectives.elbo import negative_elbo
from training.objectives.kl import Beta, beta_at, freed, kl_divergence
from training.objectives.perceptual import PerceptualDistance
from training.objectives.prior import prior_mmd
from training.objectives.reconstruction import inverse_variance, squared_error
from training.objectives.redshift import redshift_error

__all__ = [
    "Beta",
    "PerceptualDistance",
    "beta_at",
    "class_error",
    "freed",
    "inverse_variance",
    "kl_divergence",
    "negative_elbo",
    "prior_mmd",
    "redshift_error",
    "squared_error",
]
