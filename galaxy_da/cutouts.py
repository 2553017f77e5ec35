"""Read cutouts: the public names of `galaxy_da.images.cutouts`."""

from galaxy_da.images.cutouts import Cutout, read_cutout, read_cutouts, read_image

__all__ = ["Cutout", "read_cutout", "read_cutouts", "read_image"]
