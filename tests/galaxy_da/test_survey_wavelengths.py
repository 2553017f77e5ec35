"""Wavelengths of the survey definitions beside those of published throughput curves.

The pivot wavelengths below are integrals of the curves that the packages speclite 1.0 and
astro-sedpy 0.4.1 hold (of sedpy: CFHTLS, HST, JWST, Roman, VISTA; of speclite: the others). UKIDSS:
Hewett et al. 2006, MNRAS 367, 454. S-PLUS: Mendes de Oliveira et al. 2019, MNRAS 489, 241. KiDS:
the curves Paranal/OmegaCAM of the SVO Filter Profile Service, and Paranal/VISTA for Z.
"""

import pytest

from galaxy_da.surveys import builtin_surveys, get_survey

_DECAM = {"g": 480.9, "r": 641.8, "i": 781.5, "z": 916.9, "Y": 989.6}
_HSC = {"g": 479.1, "r": 621.3, "i": 773.3, "z": 890.3, "y": 977.2}
_LSST = {"u": 371.6, "g": 478.7, "r": 620.8, "i": 754.9, "z": 867.4, "y": 974.6}
_VISTA = {"Z": 877.6, "Y": 1021.6, "J": 1252.7, "H": 1643.3, "Ks": 2150.3}
_PANSTARRS = {"g": 484.9, "r": 620.1, "i": 753.5, "z": 867.4, "y": 962.8}

PIVOT_NM = {
    "bass-mzls": {"g": 475.9, "r": 639.7, "z": 919.9},
    "cfhtls-wide": {"u": 382.8, "g": 487.0, "r": 624.5, "i": 767.6, "z": 887.2},
    "decals": _DECAM,
    "decals-dr11": _DECAM,
    "decaps": _DECAM,
    "delve": _DECAM,
    "des": _DECAM,
    "euclid-vis": {"VIS": 724.8},
    "hsc": _HSC,
    "hsc-deep": _HSC,
    "hst-acs": {
        "F435W": 432.7, "F475W": 474.5, "F606W": 591.9, "F775W": 769.3, "F814W": 806.0,
        "F850LP": 903.6,
    },
    "hst-wfc3": {
        "F606W": 588.7, "F814W": 803.0, "F105W": 1055.1, "F125W": 1248.6, "F140W": 1392.3,
        "F160W": 1536.9,
    },
    "jwst-nircam": {
        "F090W": 902.4, "F115W": 1154.1, "F150W": 1500.9, "F200W": 1987.6, "F277W": 2776.2,
        "F356W": 3565.5, "F444W": 4401.7,
    },
    "kids": {"u": 357.8, "g": 474.4, "r": 631.3, "i": 758.4},
    "ps1": _PANSTARRS,
    "roman": {"F106": 1061.8, "F129": 1284.1, "F158": 1580.0, "F184": 1838.3},
    "rubin": _LSST,
    "rubin-dp1": _LSST,
    "sdss": {"u": 358.9, "g": 470.1, "r": 617.7, "i": 749.7, "z": 890.4},
    "splus": {
        "u": 353.6, "J0378": 377.0, "J0395": 394.0, "J0410": 409.4, "J0430": 429.2, "g": 475.1,
        "J0515": 513.3, "r": 625.8, "J0660": 661.4, "i": 769.0, "J0861": 861.1, "z": 883.1,
    },
    "ukidss": {"Y": 1031.5, "J": 1250.1, "H": 1636.0, "K": 2206.0},
    "unions": {
        "u": 367.6, "g": _HSC["g"], "r": 638.3, "i": _PANSTARRS["i"], "z": _HSC["z"],
    },
    "vhs": _VISTA,
    "viking": _VISTA,
}  # fmt: skip

NOT_COMPARED = {"jpas"}  # no curve at hand


@pytest.mark.parametrize("name", sorted(PIVOT_NM))
def test_wavelengths_are_those_of_the_throughput_curves(name):
    for band in get_survey(name).bands:
        # pivot, mean and effective wavelength of one curve differ by up to 1.2%
        assert band.wavelength_nm == pytest.approx(PIVOT_NM[name][band.name], rel=0.014), band


def test_every_survey_is_compared_or_known_not_to_be():
    assert set(builtin_surveys()) == set(PIVOT_NM) | NOT_COMPARED
