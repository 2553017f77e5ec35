"""Match two catalogues by position and vet the matches.

Matching is exact on the sphere; vetting measures chance matches, checks ids and compares images.
"""
