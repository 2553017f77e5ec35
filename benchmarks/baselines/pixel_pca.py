"""Project prepared pixels on their principal components, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from benchmarks.baselines.interface import AdaptationData, Fitted

__all__ = ["PixelPCA"]


@dataclass(frozen=True)
class PixelPCA:
    """Principal components of anchor images, onto which both surveys are projected.

    Attributes
    ----------
    components : int
        Number of components; 40 is the size of the shipped latent space.

    References
    ----------
    Pearson (1901), Phil. Mag. 2, 559; randomised solver of Halko et al. (2011), arXiv 0909.4061.
    """

    components: int = 40

    name: ClassVar[str] = "pca-pixels"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Fit to the anchor's images, north up.

        Raises
        ------
        ValueError
            If there are fewer images than components.
        """
        if len(data.anchor_images) < self.components:
            raise ValueError(
                f"{self.name}: {self.components} components need as many anchor images but there "
                f"are {len(data.anchor_images)}"
            )
        pca = PCA(self.components, random_state=data.seed)
        pca.fit(data.anchor_images.flatten(1).numpy())

        def project(images: Tensor) -> Tensor:
            return torch.from_numpy(pca.transform(images.flatten(1).numpy())).float()

        return Fitted(
            anchor=project,
            target=lambda images: project(data.in_frame_bands(images)),
            record={"explained_variance": float(pca.explained_variance_ratio_.sum())},
        )
