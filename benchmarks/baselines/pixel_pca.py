"""Project prepared pixels on their principal components, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from benchmarks.baselines.interface import AdaptationData, Fitted
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame
from galaxy_da.space import SurveyEncoder


@dataclass(frozen=True)
class PixelPCA:
    """Principal components of anchor images on the first grid; both surveys are projected on them.

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

    def fit(self, data: AdaptationData) -> Fitted:
        """Fit to the anchor's images, north up.

        Raises
        ------
        ValueError
            If there are fewer images than components.
        """
        if len(data.anchor) < self.components:
            raise ValueError(
                f"{self.name}: {self.components} components need as many anchor images but there "
                f"are {len(data.anchor)}"
            )
        own, frame = data.space.encoder(data.space.anchor), data.space.frame
        pca = PCA(self.components, random_state=data.seed)

        def pixels(inputs: Inputs, encoder: SurveyEncoder) -> np.ndarray:
            return np.asarray(_in_frame_bands(inputs.images, encoder, frame).flatten(1))

        def project(inputs: Inputs, encoder: SurveyEncoder) -> Tensor:
            return torch.from_numpy(pca.transform(pixels(inputs, encoder))).float()

        pca.fit(pixels(data.anchor, own))
        return Fitted(
            anchor=lambda inputs: project(inputs, own),
            target=lambda inputs: project(inputs, data.encoder),
            record={"explained_variance": float(pca.explained_variance_ratio_.sum())},
        )


def _in_frame_bands(images: Tensor, encoder: SurveyEncoder, frame: Frame) -> Tensor:
    """(n, bands, y, x) images of the first grid; the nearest band stands in for a missing one."""
    there = [plane for plane, name in enumerate(encoder.bands) if name is not None]
    have = np.log([encoder.survey.band(str(encoder.bands[p])).wavelength_nm for p in there])
    wanted = np.log(frame.wavelengths_nm)
    nearest = np.abs(wanted[:, None] - have).argmin(1)
    own = range(len(encoder.bands))
    return images[:, [p if p in there else there[nearest[p]] for p in own]]
