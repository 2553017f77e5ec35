"""Read catalogues of any format into one kind of Arrow table, positions in ICRS degrees."""
