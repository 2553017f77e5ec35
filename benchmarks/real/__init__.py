"""Compare and measure on real galaxy images, which stay outside this repository."""
