"""Fetch cutouts from survey archives: one module a service, and an engine that resumes.

`registry` opens the source of a survey by name; `fetch` fetches the cutouts of a catalogue.
"""
