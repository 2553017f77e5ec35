import numpy as np
import pytest
from numpy.testing import assert_allclose

from catalogs.simulation.colours import population_fluxes, population_shares, star_shares

# Covey et al. 2007, AJ 134, 2398, table 1 at g-i 0.5, 0.8, 1.2, 1.6, 2.02, 2.34 and 2.94, which are
# not the nodes of the locus: g-r, r-i, i-z.
LOCUS = np.array(
    [
        (0.37, 0.13, 0.03),
        (0.58, 0.21, 0.08),
        (0.87, 0.32, 0.16),
        (1.15, 0.45, 0.24),
        (1.36, 0.66, 0.36),
        (1.41, 0.92, 0.49),
        (1.46, 1.48, 0.78),
    ]
)


def test_stars_follow_the_stellar_locus():
    smooth = LOCUS[:5]  # further on g-r hardly changes, so r-z varies at a g-r
    g, r, i, z = (star_shares(smooth[:, 0]) @ population_fluxes([481, 642, 770, 925]).numpy().T).T
    assert_allclose(-2.5 * np.log10(g / r), smooth[:, 0], atol=0.04)
    assert_allclose(-2.5 * np.log10(r / i), smooth[:, 1], atol=0.1)
    assert_allclose(-2.5 * np.log10(r / z), smooth[:, 1] + smooth[:, 2], atol=0.1)


def test_the_reddest_stars_reach_the_colours_of_m_dwarfs():
    r, z = (star_shares(np.array([1.41, 1.46])) @ population_fluxes([642, 925]).numpy().T).T
    assert_allclose(-2.5 * np.log10(r / z), [1.41, 2.26], atol=0.25)


def test_no_star_is_dark_in_any_band():
    shares = star_shares(np.linspace(0.24, 1.54, 131))
    assert (shares @ population_fluxes(np.linspace(340, 2200, 60)).numpy().T > 0).all()
    assert_allclose(shares.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("g_minus_r", [0.1, 0.45, 0.9, 1.4])
def test_galaxies_have_no_m_dwarfs(g_minus_r):
    shares = population_shares(np.array([g_minus_r]))
    g, r = (shares @ population_fluxes([481, 642]).numpy().T)[0]
    assert shares[0, 3] == 0
    assert -2.5 * np.log10(g / r) == pytest.approx(g_minus_r, abs=0.01)
