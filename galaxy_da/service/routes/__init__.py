"""HTTP routes, one module for routes that belong together."""
