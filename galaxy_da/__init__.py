"""One latent space for galaxy images of many surveys.

Names are imported on first use, so that ``import galaxy_da`` does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from galaxy_da.errors import GalaxyDAError
    from galaxy_da.extraction.encoding import ExtractSettings
    from galaxy_da.extraction.pipeline import extract
    from galaxy_da.io.features import Features
    from galaxy_da.io.samples import Sample, load_sample
    from galaxy_da.latent_index import LatentIndex
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import Survey, get_survey, load_survey

_HOMES = {
    "ExtractSettings": "extraction.encoding",
    "Features": "io.features",
    "GalaxyDAError": "errors",
    "LatentIndex": "latent_index",
    "LatentSpace": "space",
    "Sample": "io.samples",
    "Survey": "surveys",
    "extract": "extraction.pipeline",
    "get_survey": "surveys",
    "load_sample": "io.samples",
    "load_survey": "surveys",
}

__all__ = [
    "ExtractSettings",
    "Features",
    "GalaxyDAError",
    "LatentIndex",
    "LatentSpace",
    "Sample",
    "Survey",
    "extract",
    "get_survey",
    "load_sample",
    "load_survey",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("galaxy_da")
    if name in _HOMES:
        return getattr(import_module(f"galaxy_da.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'galaxy_da' has no attribute {name!r}")
