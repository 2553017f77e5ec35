"""Two surveys of the same sky should fill the latent space alike: a classifier cannot tell."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.losses.shapes import check_widths

__all__ = ["DomainClassifier", "adversarial"]


class DomainClassifier(nn.Module):
    """Latents to the log odds that a galaxy was seen by the target survey.

    Parameters
    ----------
    latents : int
        Width of the input.
    hidden : int
        Width of the two hidden layers.
    """

    def __init__(self, latents: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latents, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Return the log odds, (n,), of (n, latents)."""
        odds: Tensor = self.layers(latents).squeeze(1)
        return odds


def adversarial(
    target: Tensor, anchor: Tensor, classifier: nn.Module, strength: float = 1.0
) -> Tensor:
    """Cross-entropy of a survey classifier whose gradient is reversed before the encoder.

    Minimising it trains the classifier and, against it, the encoder. Both surveys weigh the same
    whatever their numbers.

    Parameters
    ----------
    target, anchor : (n, latents) and (m, latents) float tensors
        Posterior means of any galaxies.
    classifier : nn.Module
        Latents to log odds, (n, latents) to (n,), such as `DomainClassifier`; its parameters belong
        in the optimiser.
    strength : float
        Factor on the reversed gradient.

    Returns
    -------
    scalar tensor [nat]
        ln 2 where the surveys cannot be told apart.

    Raises
    ------
    ValueError
        If widths differ.

    References
    ----------
    Ganin et al. (2016), JMLR 17, 59, section 4.
    """
    check_widths(target, anchor)
    odds_target = classifier(_reverse_gradient(target, strength))
    odds_anchor = classifier(_reverse_gradient(anchor, strength))
    softplus = torch.nn.functional.softplus
    return (softplus(-odds_target).mean() + softplus(odds_anchor).mean()) / 2


def _reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Return x itself, whose gradient comes back times minus the strength."""
    return x.detach() - strength * (x - x.detach())
