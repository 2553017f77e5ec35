"""The table that says which way of adapting is best: every method, one measure, many skies."""
