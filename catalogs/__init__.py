"""Catalogues, crossmatching, image archives and sets, sky splits and the simulated sky."""
