"""Figures of a case's data and of what its models do with them.

Each returns (figure, caption), or None when the case lacks what it shows. Sizes are CSS pixels.
"""

import math

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import statistics
from .coordinates import axis_name, coordinate_kinds, shown_coordinates, simple_coordinates
from .style import (
    CLASS_COLORS,
    HALF,
    LIGHT,
    LOW,
    MEDIUM,
    SET_LABELS,
    SET_LINES,
    SETS,
    TALL,
    THIRD,
    TWO_THIRDS,
    count,
    new_figure,
)

# ---- data --------------------------------------------------------------------------------------------------


def draw_data(case):
    x, y = case.arrays.get("sample/x"), case.arrays.get("sample/y")
    if x is None or y is None or x.shape[1] < 2:
        return None
    kinds = coordinate_kinds(case.config, x.shape[1])
    first, second, third = shown_coordinates(case.config, x.shape[1])
    if second is None:
        first, second = 0, 1  # every coordinate is in S
    pairs = [(first, second)] + ([(third, second)] if third is not None else [])
    figure = new_figure(TWO_THIRDS, TALL)
    axes = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axis, (i, j) in zip(axes, pairs):
        _scatter_classes(axis, x[:, i], x[:, j], y)
        _square(axis, x[:, i], x[:, j])
        axis.set_xlabel(axis_name(kinds, i))
        axis.set_ylabel(axis_name(kinds, j))
    _class_legend(axes[-1], np.unique(y))
    axes[0].set_title("Data, before the rotation" if "rotation" in case.arrays else "Data")
    planes = " and of ".join(f"coordinates {i} and {j}" for i, j in pairs)
    return figure, f"{count(len(x), 'test row')} of the first seed: the classes in the plane of {planes}."


def _scatter_classes(axis, a, b, label):
    # All classes in one call, in the order of the rows, so that no class hides another.
    axis.scatter(
        a, b, s=5, c=[_class_color(value) for value in label], linewidths=0, alpha=0.85, rasterized=True
    )


def _class_color(value):
    return CLASS_COLORS[int(value) % len(CLASS_COLORS)]


def _class_legend(axis, classes):
    handles = [
        Line2D(
            [],
            [],
            ls="none",
            marker="o",
            ms=5,
            color=_class_color(value),
            label=f"{'' if k and len(classes) > 2 else 'y = '}{int(value)}",
        )
        for k, value in enumerate(classes[: len(CLASS_COLORS)])
    ]
    axis.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncol=min(len(handles), 3),
        columnspacing=1.0,
        handletextpad=0.1,
    )


def _square(axis, a, b):
    axis.set_box_aspect(1)
    axis.set_xlim(*padded_limits(a))
    axis.set_ylim(*padded_limits(b))
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def padded_limits(values):
    """Limits around the values: symmetric about 0 where they nearly are, so slab panels share a scale."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (-1.0, 1.0)
    if low < 0 < high and max(-low, high) < 1.3 * min(-low, high):
        low, high = min(low, -high), max(high, -low)
    padding = 0.03 * (high - low) or 1.0
    return low - padding, high + padding


def draw_boundary(case):
    a, b, label = (case.arrays.get(f"boundary/{key}") for key in ("a", "b", "label"))
    if a is None or b is None or label is None:
        return None
    x, y = case.arrays.get("sample/x"), case.arrays.get("sample/y")
    i, j = (int(value) for value in case.arrays.get("boundary/coordinates", (0, 1)))
    sampled = x is not None and y is not None and max(i, j) < x.shape[1]
    kinds = coordinate_kinds(case.config, x.shape[1] if sampled else max(i, j) + 1)
    figure = new_figure(THIRD, TALL)
    axis = figure.subplots()
    classes = _paint_classes(axis, a, b, label)
    if sampled:
        _scatter_classes(axis, x[:, i], x[:, j], y)
    axis.grid(False)
    _square(axis, *((np.concatenate([a, x[:, i]]), np.concatenate([b, x[:, j]])) if sampled else (a, b)))
    axis.set_xlabel(axis_name(kinds, i))
    axis.set_ylabel(axis_name(kinds, j))
    axis.set_title("Decision boundary")
    _class_legend(axis, sorted(set(classes.tolist()) | (set(np.unique(y).tolist()) if sampled else set())))
    return figure, (
        f"The class the model predicts at {count(len(a), 'point')} in the plane of coordinates {i} and {j}, "
        "all other coordinates drawn at random (shade: share of the points of a cell; line: one half)"
        + (", with test rows on top." if sampled else ".")
    )


def _paint_classes(axis, a, b, label):
    """Colours each cell by its most frequent class, the paler the less unanimous; returns the classes."""
    edges_a, edges_b, classes, share = statistics.boundary_grid(a, b, label)
    smooth = np.array([statistics.smoothed(grid) for grid in share])
    share = np.where(np.isfinite(share), share, smooth)  # a cell without points looks like its neighbours
    winner = np.argmax(np.nan_to_num(share, nan=-1.0), axis=0)
    image = np.zeros((*winner.shape, 4))
    for index, value in enumerate(classes):
        color = _class_color(value)
        image[winner == index, :3] = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    image[..., 3] = np.nan_to_num(0.04 + 0.32 * np.clip(2 * share.max(axis=0) - 1, 0, 1))
    axis.imshow(
        image,
        origin="lower",
        extent=(edges_a[0], edges_a[-1], edges_b[0], edges_b[-1]),
        aspect="auto",
        zorder=1,
    )
    of_second = statistics.smoothed(smooth[-1])
    there = of_second[np.isfinite(of_second)]
    if len(classes) == 2 and len(there) and there.min() < 0.5 < there.max():  # else the classes have no common border
        centres = [(edges[1:] + edges[:-1]) / 2 for edges in (edges_a, edges_b)]
        axis.contour(
            *centres,
            of_second,
            levels=[0.5],
            colors=[LIGHT["ink"]],
            linewidths=1.4,
            zorder=2,
        )
    return classes


# ---- scores ------------------------------------------------------------------------------------------------


def draw_scores(case):
    labels = case.arrays.get("scores/labels")
    scores = {name: case.arrays[f"scores/{name}"] for name in SETS if f"scores/{name}" in case.arrays}
    histogram = statistics.score_histograms(scores, labels) if labels is not None and scores else None
    if histogram is None:
        return None
    figure = new_figure(HALF, MEDIUM)
    axis = figure.subplots()
    for name in SETS:
        if name not in scores:
            continue
        color = LIGHT[name]
        if histogram.members > 1:
            axis.stairs(
                histogram.high[name],
                histogram.edges,
                baseline=histogram.low[name],
                fill=True,
                color=color,
                alpha=0.16,
                linewidth=0,
            )
        elif name == "standard":
            axis.stairs(
                histogram.density[name], histogram.edges, fill=True, color=color, alpha=0.10, linewidth=0
            )
        # The standard set is drawn wide, so that it can be seen below one that equals it.
        axis.stairs(
            histogram.density[name],
            histogram.edges,
            color=color,
            linestyle=SET_LINES[name],
            linewidth=3.2 if name == "standard" else 1.7,
            alpha=0.55 if name == "standard" else 1,
        )
    axis.axvline(0, color=LIGHT["spine"], linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.9)
    one_logit = case.config.get("loss") in ("binary_cross_entropy", "hinge")
    axis.set_xlabel("score = logit" if one_logit else "score = logit 1 − logit 0")
    axis.set_ylabel("density")
    axis.set_ylim(0, None)
    axis.set_title("Scores of class-1 test rows")
    handles = [
        Line2D(
            [],
            [],
            color=LIGHT[name],
            linestyle=SET_LINES[name],
            linewidth=3.2 if name == "standard" else 1.7,
            alpha=0.55 if name == "standard" else 1,
            label=SET_LABELS[name],
        )
        for name in SETS
        if name in scores
    ]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.01, 0.99))
    _headroom(axis, 1.12)
    members = f" of {histogram.members} members (shade: range over them)" if histogram.members > 1 else ""
    return figure, (
        f"Densities on {len(histogram.edges) - 1} common bins of the scores of {histogram.rows:,} class-1 "
        f"rows{members}; right of the dotted line the model says class 1."
    )


def _headroom(axis, factor):
    low, high = axis.get_ylim()
    axis.set_ylim(low, low + (high - low) * factor)


# ---- coordinates -------------------------------------------------------------------------------------------


def draw_coordinates(case):
    accuracy = case.arrays.get("per_coordinate_accuracy")
    if accuracy is None:
        return None
    diverged = case.diverged()
    if diverged is not None and len(diverged) == len(accuracy):
        accuracy = accuracy[~diverged]
    if not np.isfinite(accuracy).any():
        return None
    mean, half_width, low, high = statistics.coordinate_summary(accuracy, case.independent)
    interval = np.isfinite(half_width).any()
    dim = len(mean)
    simple = simple_coordinates(case.config, dim)
    figure = new_figure(HALF, LOW)
    axis = figure.subplots()
    index = np.arange(dim)
    for in_simple, name, marker in ((False, "sc_randomized", "o"), (True, "s_randomized", "s")):
        chosen = index[np.isin(index, simple) == in_simple]
        if not len(chosen):
            continue
        color = LIGHT[name]
        axis.vlines(chosen, low[chosen], high[chosen], color=color, linewidth=1.0, alpha=0.7)
        if interval:
            axis.vlines(
                chosen,
                (mean - half_width)[chosen],
                (mean + half_width)[chosen],
                color=color,
                linewidth=3.2,
                alpha=0.45,
            )
        axis.scatter(
            chosen,
            mean[chosen],
            s=34 if in_simple else 20,
            marker=marker,
            color=color,
            zorder=3,
            label="in $S$" if in_simple else "in $S^c$",
        )
    axis.axhline(0.5, color=LIGHT["spine"], linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.9)
    axis.set_ylim(min(0.45, float(np.nanmin(low)) - 0.03), 1.03)
    axis.set_xlim(-0.8, dim - 0.2)
    axis.xaxis.set_major_locator(MaxNLocator(12, integer=True, steps=[1, 2, 5, 10]))
    axis.grid(False, axis="x")
    axis.set_xlabel("randomised coordinate")
    axis.set_ylabel("test accuracy")
    axis.set_title("Coordinate-wise randomised accuracy")
    axis.legend(loc="center right", handletextpad=0.2)
    return figure, (
        "Test accuracy after one coordinate alone is shuffled, for each of "
        f"{count(dim, 'coordinate')}: mean over {count(len(accuracy), case.unit)}"
        + (", its 95% interval (thick)" if interval else "")
        + (f" and the range over {case.unit}s (thin)." if len(accuracy) > 1 else ".")
    )


def cosine_band(dim):
    """c with |cosine| <= c for 95% of random directions: the angle to the equator has density ~ cos^(dim - 2)."""
    angle = np.linspace(0, math.pi / 2, 20001)
    density = np.cos(angle) ** (dim - 2)
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return math.sin(np.interp(0.95, below / below[-1], angle))


def draw_alignment(case):
    cosine, norm = case.arrays.get("alignment/cosine"), case.arrays.get("alignment/norm")
    if cosine is None or norm is None or not np.isfinite(norm).any():
        return None
    figure = new_figure(HALF, LOW)
    axis = figure.subplots()
    rotation, x = case.arrays.get("rotation"), case.arrays.get("sample/x")
    dim = rotation.shape[1] if rotation is not None else x.shape[1] if x is not None else None
    random = ""
    if dim and dim > 1:
        band = cosine_band(dim)
        axis.axvspan(-band, band, color=LIGHT["band"], linewidth=0, zorder=0)
        random = f"; a random direction in {dim} dimensions falls into the band 95% of the time"
    axis.scatter(
        cosine.ravel(),
        norm.ravel(),
        s=11,
        color=LIGHT["test"],
        alpha=0.6,
        linewidths=0,
        rasterized=cosine.size > 500,
    )
    axis.axvline(0, color=LIGHT["spine"], linewidth=0.9, zorder=0.9)
    axis.set_xlim(-1.04, 1.04)
    axis.set_ylim(0, float(norm[np.isfinite(norm)].max()) * 1.08 or 1)
    simple = simple_coordinates(case.config, dim or 1)[0]
    axis.set_xlabel(f"cosine with coordinate {simple}")
    axis.set_ylabel("norm of the weights")
    axis.set_title("First layer: alignment with the simple coordinate")
    return figure, (
        f"One point per hidden unit of the first layer ({cosine.shape[1]} units, "
        f"{count(len(cosine), 'member')}): how far its weights point along coordinate {simple}{random}."
    )
