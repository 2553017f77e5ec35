"""The questions an index answers, one a module; `galaxy_da.index.LatentIndex` has them all."""
