"""Files that clients send: read within limits, and refused before they can do harm."""
