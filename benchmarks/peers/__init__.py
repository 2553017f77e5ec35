"""Programs of others, run on the same data: catalogue matchers and statmorph."""
