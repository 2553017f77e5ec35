"""More labels bring the AUC nearer to that of the true direction."""

import numpy as np
from scipy.stats import norm

from benchmarks.real.labels import learning_curve


def test_the_curve_rises_to_the_auc_of_the_true_direction():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(2000, 12))
    answer = latents[:, 0] + rng.normal(size=2000) > 0
    rows = learning_curve(latents, answer)
    auc = [row["auc"] for row in rows]
    assert [row["labels"] for row in rows] == ["30", "100", "300", "1000"]
    assert auc == sorted(auc)
    grid = np.linspace(-6, 6, 4001)
    density, above = norm.pdf(grid), norm.cdf(grid)
    yes, no = 2 * density * above, 2 * density * (1 - above)
    step = grid[1] - grid[0]
    best = float((yes * np.cumsum(no) * step).sum() * step)
    assert abs(auc[-1] - best) < 0.02 and auc[0] < best - 0.02


def test_too_few_galaxies_leave_numbers_out():
    rng = np.random.default_rng(1)
    rows = learning_curve(rng.normal(size=(200, 3)), rng.random(200) < 0.5)
    assert [row["labels"] for row in rows] == ["30", "100"]
    assert all(abs(row["auc"] - 0.5) < 0.12 for row in rows)
