"""Provenance of a feature table: what made it, and what its flags and references are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import pyarrow as pa

from galaxy_da.errors import TableError
from galaxy_da.io.features import Features
from galaxy_da.io.samples import Flag

PROVENANCE = "galaxy_da.provenance"
"""Key of the provenance in the metadata of a table."""

_FLAGS = {
    Flag.NAN_PIXELS: "pixels without a finite value",
    Flag.SATURATED: "saturated pixels of a picture",
    Flag.BLANK_BAND: "a blank band",
    Flag.PARTIAL_COVERAGE: "the cutout does not cover the frame",
    Flag.SUBSTITUTED_BAND: "a band stands in for another",
    Flag.OUT_OF_DOMAIN: "outside the domain, see domain_reason",
    Flag.LIGHT_AT_EDGE: "the light reaches the edge of the image",
    Flag.MAGNITUDES_DIFFER: "inferred and measured magnitude differ",
    Flag.NOT_PHOTOMETRIC: "fluxes of the image are not photometric",
}
_REFERENCES = {
    "units": "FITS standard 4.0, section 4.3",
    "ucds": "IVOA Recommendation UCD1+ 1.5",
}


def provenance(features: Features) -> dict[str, str]:
    """Return what made a feature table, as words by name.

    ``software``, ``space`` (hash of frame and anchor networks); for each survey ``read_NAME`` (by
    definition, or adapted with how many pairs) and ``encoder_NAME`` (hash); ``flag_N`` for the
    meaning of each bit; and the references of units and UCDs.
    """
    return {
        "software": f"galaxy_da {version('galaxy_da')}",
        "space": features.space_id,
        **{f"read_{name}": words for name, words in features.readings.items()},
        **{f"encoder_{name}": hash_ for name, hash_ in features.encoders.items()},
        **{f"flag_{flag.value}": words for flag, words in _FLAGS.items()},
        **_REFERENCES,
    }


def with_provenance(table: pa.Table, words: Mapping[str, str]) -> pa.Table:
    """Return a table with its provenance in the metadata."""
    kept = table.schema.metadata or {}
    return table.replace_schema_metadata({**kept, PROVENANCE: json.dumps(dict(words))})


def read_provenance(schema: pa.Schema) -> dict[str, str]:
    """Return the provenance in a schema's metadata, empty without one."""
    return dict(json.loads((schema.metadata or {}).get(PROVENANCE.encode(), b"{}")))


def join_features(parts: Sequence[Features]) -> tuple[Features, list[str]]:
    """Join feature tables of one space, and return warnings about what should not be mixed.

    Tables of different spaces, whose numbers cannot be compared, or columns raise TableError.
    """
    first = parts[0]
    for other in parts[1:]:
        if other.space_id != first.space_id:
            raise TableError(
                f"features of two latent spaces ({first.space_id[:12]} and "
                f"{other.space_id[:12]}) do not belong in one catalogue; extract both with one "
                "space"
            )
    warnings = []
    encoders: dict[str, str] = {}
    readings: dict[str, str] = {}
    for part in parts:
        for name, own in part.encoders.items():
            if encoders.setdefault(name, own) != own:
                warnings.append(
                    f"{name} was read in two ways ({readings.get(name)}; "
                    f"{part.readings.get(name)}): its rows do not compare"
                )
            readings.setdefault(name, part.readings.get(name, "unknown"))
    adapted = [name for name, words in readings.items() if words.startswith("adapted")]
    if adapted and len(adapted) < len(readings) - 1:
        plain = [name for name in readings if name not in adapted]
        warnings.append(
            f"{', '.join(adapted)} {'is' if len(adapted) == 1 else 'are'} adapted but "
            f"{', '.join(plain)} are not; compare their latents with care"
        )
    try:
        table = pa.concat_tables([part.table for part in parts], promote_options="default")
    except pa.ArrowInvalid as error:
        raise TableError(f"the feature tables have different columns ({error})") from error
    return replace(first, table=table, encoders=encoders, readings=readings), warnings
