"""Losses of pretraining and adaptation.

Each is a mean over images, so that a weight means the same at any batch size.

===================  ======================  =====================================================
loss                 weight                  gain
===================  ======================  =====================================================
negative_elbo        recipe, ``beta``        the bound itself; all recipes (docs, The anchor)
prior_mmd            recipe, ``mmd``         +0.11 dB over the ELBO (docs, The anchor)
class_error          recipe, ``classes``     separate classes in ``decals-galaxy10``; not measured
known_error          recipe, ``redshift``    predicted redshifts in ``hst-cvae-predict``
known_error          recipe, ``truth``       shapes and classes in ``anchor`` (``docs/anchor.md``)
dependence           recipe, ``instrument``  one scale for all instruments in ``anchor`` (the same)
paired, contrastive  `FineTuningSettings`    the candidate "fine-tuned" of `adapt`; terms not
and mmd                                      measured one by one (``docs/measured/benchmark.md``)
===================  ======================  =====================================================
"""

from training.losses.elbo import Beta, beta_at, kl_divergence, negative_elbo
from training.losses.latents import contrastive, dependence, mmd, paired, prior_mmd
from training.losses.supervised import class_error, known_error

__all__ = [
    "Beta", "beta_at", "class_error", "contrastive", "dependence", "kl_divergence", "known_error",
    "mmd", "negative_elbo", "paired", "prior_mmd",
]  # fmt: skip
