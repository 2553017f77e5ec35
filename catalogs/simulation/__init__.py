"""The simulated sky: galaxies, the surveys that observe them, and the truth.

`sky` streams observations for training; `writing` writes sample tables, cutouts and true pairs.
"""
