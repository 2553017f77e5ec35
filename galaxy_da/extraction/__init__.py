"""Extract features: read cutouts ahead, prepare and encode them, write Parquet parts."""
