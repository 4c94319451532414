"""What figures and tables show, computed: means with intervals, histograms, bands, grids. No drawing here."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    mean: float
    half_width: float  # of the 95% interval; NaN with fewer than two values, or where they are not independent
    n: int  # values used
    low: float
    high: float  # smallest and largest value
    independent: bool = True

    @property
    def bounds(self):
        """Of the 95% interval; the smallest and the largest value where the values are not independent."""
        if not self.independent:
            return self.low, self.high
        return self.mean - self.half_width, self.mean + self.half_width

    @property
    def bars(self):
        """How far the bounds lie below and above the mean; 0 where one value gives no interval."""
        if self.n < 2:
            return 0.0, 0.0
        return (self.half_width,) * 2 if self.independent else (self.mean - self.low, self.high - self.mean)


def mean_interval(values, confidence=0.95, independent=True):
    """Mean and Student-t interval over the values that are not NaN; None without any."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return None
    # Equal values are exactly their mean; summation would leave a rounding error in the last digit.
    mean = float(values[0]) if np.all(values == values[0]) else float(np.mean(values))
    half_width = math.nan
    if n > 1 and independent:
        deviation = float(np.sqrt(np.sum((values - mean) ** 2) / (n - 1)))
        half_width = t_quantile(0.5 + confidence / 2, n - 1) * deviation / math.sqrt(n)
    return Interval(mean, half_width, n, float(values.min()), float(values.max()), independent)


def _incomplete_beta(a, b, x):
    """Regularised incomplete beta function I_x(a, b), by its continued fraction (modified Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    tiny = 1e-300
    front = (
        math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
        / a
    )
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for numerator in (even, odd):
            d = 1 / (1 + numerator * d or tiny)
            c = 1 + numerator / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value


def t_cdf(t, degrees):
    tail = 0.5 * _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))
    return 1 - tail if t > 0 else tail


def t_quantile(probability, degrees):
    """The t with P(T <= t) = probability, for a probability of at least one half, by bisection."""
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


# ---- histograms --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreHistogram:
    edges: np.ndarray  # [bins + 1], common to all sets
    density: dict  # set -> [bins], over the rows of class 1 of all members
    low: dict  # set -> [bins], smallest and largest density of one member
    high: dict
    members: int
    rows: int  # rows of class 1, all members together


def score_histograms(scores, labels, bins=20, positive=1):
    """scores: set -> [kept, rows]; labels [kept, rows]. Densities of one class's rows, on common edges."""
    labels = np.asarray(labels)
    chosen = {
        name: [
            row[mask & np.isfinite(row)] for row, mask in zip(np.asarray(values, float), labels == positive)
        ]
        for name, values in scores.items()
    }
    pooled = np.concatenate([row for rows in chosen.values() for row in rows])
    if len(pooled) == 0:
        return None
    low, high = float(pooled.min()), float(pooled.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)

    def densities(values):
        if len(values) == 0:
            return np.zeros(bins)
        return np.histogram(values, edges)[0] / (len(values) * np.diff(edges))

    each = {name: np.array([densities(row) for row in rows]) for name, rows in chosen.items()}
    return ScoreHistogram(
        edges=edges,
        density={name: densities(np.concatenate(rows)) for name, rows in chosen.items()},
        low={name: values.min(axis=0) for name, values in each.items()},
        high={name: values.max(axis=0) for name, values in each.items()},
        members=len(labels),
        rows=int((labels == positive).sum()),
    )


def stop_frequencies(updates, status, most=12, bins=20):
    """How many members stopped where, by status: (labels or edges, word -> counts, exact).

    With at most `most` different values every value is a bar of its own (exact); otherwise `bins` equal bins.
    """
    updates = np.asarray(updates, float)
    words = np.array(list(status) or ["recorded"] * len(updates))
    words, updates = words[np.isfinite(updates)], updates[np.isfinite(updates)]
    if len(updates) == 0:
        return None
    order = [word for word in ("converged", "recorded", "limit", "diverged") if word in words]
    order += sorted(set(words.tolist()) - set(order))
    values = np.unique(updates)
    if len(values) <= most:
        counts = {
            word: np.array([int(np.sum(updates[words == word] == value)) for value in values])
            for word in order
        }
        return values, counts, True
    edges = np.linspace(values[0], values[-1], bins + 1)
    return edges, {word: np.histogram(updates[words == word], edges)[0] for word in order}, False


# ---- training curves ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    updates: np.ndarray  # [points]
    median: np.ndarray  # [points]
    low: np.ndarray
    high: np.ndarray  # 5th and 95th percentile over the seeds
    members: int
    curves: list  # per member: (updates, values) of its own checks


def curve_band(updates, values, percentiles=(5, 95)):
    """Median and band over seeds at every update at which some seed was checked.

    updates [seeds, checks], padded with -1; values [seeds, checks], padded with NaN. Between its checks a
    member's curve is a straight line; a member that has stopped keeps its last value, since its parameters no
    longer change.
    """
    curves = []
    for row_updates, row_values in zip(np.asarray(updates), np.asarray(values, float)):
        there = (row_updates >= 0) & np.isfinite(row_values)
        if there.any():
            order = np.argsort(row_updates[there], kind="stable")
            curves.append((row_updates[there][order], row_values[there][order]))
    if not curves:
        return None
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    table = np.array([np.interp(grid, x, y, left=np.nan) for x, y in curves])
    with np.errstate(all="ignore"):
        low, median, high = np.nanpercentile(table, (percentiles[0], 50, percentiles[1]), axis=0)
    return Band(grid, median, low, high, len(curves), curves)


# ---- points ------------------------------------------------------------------------------------------------


def boundary_grid(a, b, label, per_cell=6, least=16, most=120):
    """Shares of the predicted classes on a square grid: edges_a, edges_b, classes, share [class, b, a].

    Cells without a point are NaN. The grid is as fine as `per_cell` points a cell allow.
    """
    label = np.asarray(label)
    size = int(np.clip(math.sqrt(len(label) / per_cell), least, most))
    edges_a, edges_b = (np.linspace(*_span(values), size + 1) for values in (a, b))
    classes = np.unique(label)
    counts = np.array([np.histogram2d(b[label == c], a[label == c], (edges_b, edges_a))[0] for c in classes])
    total = counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return edges_a, edges_b, classes, np.where(total > 0, counts / total, np.nan)


def _span(values):
    low, high = float(np.min(values)), float(np.max(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def smoothed(grid):
    """Mean over each cell's 3x3 neighbourhood, NaN cells and cells beyond the edge left out."""
    padded = np.pad(np.asarray(grid, float), 1, constant_values=np.nan)
    rows, columns = np.asarray(grid).shape
    shifted = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    there = np.isfinite(shifted)
    with np.errstate(invalid="ignore"):
        return np.where(there, shifted, 0).sum(axis=0) / there.sum(axis=0)


def swarm_offsets(values, span, width=0.35, rows=40):
    """Horizontal offsets in [-width, width] that keep nearby values apart: a deterministic beeswarm.

    span: the height of the axis; values within span / rows of each other share a row.
    """
    values = np.asarray(values, float)
    row = np.floor((values - np.min(values)) / (span / rows)).astype(int) if len(values) else np.zeros(0, int)
    counts = np.bincount(row) if len(values) else np.zeros(1, int)
    step = min(0.09, 2 * width / max(int(counts.max()) - 1, 1))
    offsets, seen = np.zeros(len(values)), {}
    for index in np.lexsort((np.arange(len(values)), values)):
        k = seen[row[index]] = seen.get(row[index], -1) + 1
        offsets[index] = (k - (counts[row[index]] - 1) / 2) * step
    return offsets


def coordinate_summary(accuracy, independent=True):
    """Of [seeds, dim], over seeds: mean, half width of the 95% interval, smallest, largest; each [dim]."""
    columns = [mean_interval(column, independent=independent) for column in np.asarray(accuracy, float).T]
    nan = math.nan
    rows = [(nan, nan, nan, nan) if c is None else (c.mean, c.half_width, c.low, c.high) for c in columns]
    return tuple(np.array(rows).T)
