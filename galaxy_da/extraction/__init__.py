"""Extract features: load and encode cutouts in threads, and write Parquet parts."""
