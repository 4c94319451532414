"""Figures of a case's seeds: their measures, their training and where it stopped.

Each returns (figure, caption), or None when the case lacks what it shows. Sizes are CSS pixels.
"""

import re
from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from . import statistics
from .style import (
    HALF,
    LIGHT,
    MEDIUM,
    SET_LABELS,
    SET_LINES,
    SET_MARKERS,
    SET_ROLES,
    SETS,
    SHAPE_SETS,
    THIRD,
    TWO_THIRDS,
    count,
    new_figure,
    plain,
)

# ---- the measures over seeds -------------------------------------------------------------------------------


def draw_measures(case):
    kind = next((kind for kind in ("auc", "accuracy") if _measured_sets(case, kind)), None)
    if kind is None:
        return None
    names = _measured_sets(case, kind)
    figure = new_figure(HALF, MEDIUM)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    strips = [_strip(axis, case, name, f"{name}_{kind}") for axis, name in zip(axes, names)]
    axes[0].set_ylabel("ROC-AUC" if kind == "auc" else "accuracy")
    figure.suptitle(
        f"{'AUC' if kind == 'auc' else 'Accuracy'} over {case.unit}s",
        x=0.012,
        ha="left",
        fontsize=9,
        fontweight="bold",
    )
    handles = [
        Line2D([], [], color=LIGHT["muted"], marker="_", ls="none", ms=9, mew=2, label=f"mean, {case.spread}")
    ]
    if any(_numbers(case.published.get(f"{name}_{kind}")) for name in names):
        handles.append(Line2D([], [], color=LIGHT["published"], ls=(0, (4, 2)), label="published"))
    figure.legend(handles=handles, loc="upper right", ncol=2, bbox_to_anchor=(0.995, 1.0), columnspacing=1.4)
    n = max(strip.n for strip in strips)
    twin = next((f" (hollow: the {strip.twin} model)" for strip in strips if strip.twin), "")
    band = (
        "; the yellow band is the tolerance of the mean around one half, the value of a model that has lost "
        "all it relied on"
        if any(strip.band for strip in strips)
        else ""
    )
    return figure, f"One point per {case.unit}, n = {n}{twin}, each panel on its own scale{band}."


def _measured_sets(case, kind):
    return [name for name in SETS if np.isfinite(case.metrics.get(f"{name}_{kind}", [])).any()]


@dataclass(frozen=True)
class Strip:
    """What one strip shows."""

    n: int  # seeds
    twin: str  # the other model beside the evaluated one: "best", "last" or ""
    band: bool  # a tolerance band around one half


def strip_columns(case, metric):
    """[(word, values)]: the evaluated model, and the other of last and best where it differs for a seed."""
    values = case.metrics[metric]
    for twin, word in (("best", "last"), ("last", "best")):
        other = case.metrics.get(f"{twin}_{metric}")
        if other is not None and not np.array_equal(values, other, equal_nan=True):
            return [(word, values), (twin, other)]
    return [("", values)]


def _strip(axis, case, name, metric):
    columns = [(word, values[np.isfinite(values)]) for word, values in strip_columns(case, metric)]
    columns = [(word, values) for word, values in columns if len(values)]
    published = _numbers(case.published.get(metric))
    pooled = np.concatenate([values for _, values in columns])
    tolerance = case.tolerances.get(metric) if abs(float(np.median(pooled)) - 0.5) < 0.05 else None
    if tolerance:
        axis.axhspan(0.5 - tolerance, 0.5 + tolerance, color=LIGHT["band"], linewidth=0, zorder=0)
        axis.axhline(0.5, color=LIGHT["spine"], linewidth=0.9, zorder=0.9)
        pooled = np.concatenate([pooled, [0.5 - tolerance, 0.5 + tolerance]])
    bounds = [
        bound
        for _, values in columns
        for bound in statistics.mean_interval(values, independent=case.independent).bounds
        if np.isfinite(bound)
    ]
    low, high = strip_limits(np.concatenate([pooled, published, np.clip(bounds, 0, 1)]))
    axis.set_ylim(low, high)
    for value in published:
        axis.axhline(value, color=LIGHT["published"], linewidth=1.2, linestyle=(0, (4, 2)), zorder=2)
    centres = np.arange(len(columns)) - (len(columns) - 1) / 2
    for k, (centre, (_, values)) in enumerate(zip(centres, columns)):
        few = len(values) <= 60
        axis.scatter(
            centre - 0.06 + statistics.swarm_offsets(values, high - low, width=0.3),
            values,
            s=16 if few else 7,
            marker=SET_MARKERS[name],
            facecolors="none" if k else LIGHT[name],
            edgecolors=LIGHT[name],
            linewidths=0.8,
            alpha=0.75 if few else 0.4,
            zorder=3,
            rasterized=len(values) > 300,
        )
        interval = statistics.mean_interval(values, independent=case.independent)
        if interval.n > 1:
            axis.errorbar(
                centre + 0.42,
                interval.mean,
                yerr=np.transpose([interval.bars]),
                fmt="_",
                color=LIGHT["muted"],
                ms=9,
                mew=2,
                elinewidth=1.3,
                capsize=0,
                zorder=4,
            )
    axis.set_xlim(centres[0] - 0.55, centres[-1] + 0.6)
    axis.set_xticks(centres if len(columns) > 1 else [])
    axis.set_xticklabels([word for word, _ in columns] if len(columns) > 1 else [])
    axis.grid(False, axis="x")
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(SET_LABELS[name])
    return Strip(len(columns[0][1]), columns[1][0] if len(columns) > 1 else "", bool(tolerance))


def _numbers(published):
    values = published if isinstance(published, list) else [published]
    return [
        float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]


def strip_limits(values, least=0.01):
    low, high = float(np.min(values)), float(np.max(values))
    span = max(high - low, least)
    middle = (low + high) / 2
    # Nothing lies above 1, so a panel at the ceiling spends its height below it.
    if low < high <= 1 < high + 0.25 * span or low == high == 1:
        return min(low - 0.1 * span, 1 - span), 1 + 0.12 * span
    return middle - 0.62 * span, middle + 0.62 * span


# ---- training ----------------------------------------------------------------------------------------------


def draw_training(case):
    updates = case.arrays.get("history/updates")
    if updates is None:
        return None
    diverged = case.diverged()
    if diverged is not None and len(diverged) == len(updates):  # as in every statistic, they are left out
        updates = np.where(diverged[:, None], -1, updates)
    panels = [
        (
            "accuracy",
            "Accuracy",
            [(split, f"history/{split}_accuracy") for split in ("train", "validation", "test", "pgd")],
        ),
        ("loss", "Loss", [(split, f"history/{split}_loss") for split in ("train", "validation", "test")]),
        (
            "ROC-AUC",
            "AUC along training",
            [(name, f"history/{name}_auc") for name in ("s_randomized", "sc_randomized")],
        ),
        (
            "accuracy",
            "Accuracy along training",
            [(name, f"history/{name}_accuracy") for name in SHAPE_SETS if name != "iid"],
        ),
    ]
    panels = [
        (
            label,
            title,
            [
                (role, band)
                for role, key in series
                if key in case.arrays and (band := statistics.curve_band(updates, case.arrays[key]))
            ],
        )
        for label, title, series in panels
    ]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return None
    figure = new_figure(TWO_THIRDS, MEDIUM)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    members = max(band.members for _, _, series in panels for _, band in series)
    for axis, (label, title, series) in zip(axes, panels):
        for role, band in series:
            _curve(axis, role, band)
        _training_axis(axis, label, title, series)
    reference = case.published.get("test_accuracy_at")
    if isinstance(reference, dict) and panels[0][0] == "accuracy":
        _published_points(axes[0], reference)
    return figure, (
        f"Median over {count(members, case.unit)} at every check, with the 5th to 95th percentile as a band"
        + (f" and every {case.unit} as a thin line" if 1 < members <= 20 else "")
        + f"; a {case.unit} that has stopped keeps its last value."
    )


def _curve(axis, role, band):
    color = LIGHT[SET_ROLES.get(role, role)]
    wide = role == "train"
    line = {"validation": (0, (1.2, 1.4))}.get(role, SET_LINES.get(SET_ROLES.get(role), "-"))
    if band.members > 1:
        axis.fill_between(band.updates, band.low, band.high, color=color, alpha=0.16, linewidth=0)
        if band.members <= 20:
            for x, y in band.curves:
                axis.plot(x, y, color=color, linewidth=0.6, alpha=0.35)
    label = SET_LABELS.get(role, role)
    axis.plot(
        band.updates,
        band.median,
        color=color,
        linestyle=line,
        linewidth=4 if wide else 1.7,
        label=label,
        marker="o" if len(band.updates) <= 40 else None,
        markersize=5.5 if wide else 3.2,
        zorder=3,
    )


def _training_axis(axis, label, title, series):
    bands = [band for _, band in series]
    values = np.concatenate([y for band in bands for _, y in band.curves])
    low, high = float(values.min()), float(values.max())
    log = label == "loss" and 0 < low < high / 20
    axis.set_title(title)
    axis.set_xlabel("updates")
    axis.set_ylabel(label + (" (log scale)" if log else ""))
    last = max(float(band.updates[-1]) for band in bands)
    axis.set_xlim(-0.03 * last, 1.03 * last)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.xaxis.set_major_formatter(
        lambda value, _: f"{value / 1000:g}k" if last >= 10_000 and value else f"{value:,.0f}"
    )
    if label == "loss":
        if log:
            axis.set_yscale("log")
            axis.yaxis.set_minor_formatter(NullFormatter())
        else:
            axis.set_ylim(0, None)
        axis.legend(loc="lower left")
        return
    axis.set_ylim(max(min(low, 0.5) - 0.04, -0.03), 1.03)
    axis.axhline(0.5, color=LIGHT["spine"], linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.9)
    axis.legend(loc="center right" if low > 0.4 else "best")  # the middle is free where nothing is below chance


def _published_points(axis, reference):
    points = sorted(
        (float(key), float(value))
        for key, value in reference.items()
        if re.fullmatch(r"[0-9.]+", str(key)) and _numbers(value)
    )
    if points:
        axis.plot(
            *zip(*points),
            ls="none",
            marker="D",
            ms=6,
            mfc="none",
            mew=1.4,
            color=LIGHT["published"],
            zorder=4,
            label="test, published",
        )
        axis.legend(loc="center right")


def draw_stops(case):
    stops = statistics.stop_frequencies(case.stop_updates(), case.status)
    if stops is None:
        return None
    places, counts, exact = stops
    figure = new_figure(THIRD, MEDIUM)
    axis = figure.subplots()
    x = np.arange(len(places)) if exact else (places[1:] + places[:-1]) / 2
    width = 0.62 if exact else np.diff(places) * 0.94
    base = np.zeros(len(x))
    for word, values in counts.items():
        axis.bar(x, values, width, bottom=base, color=LIGHT.get(word, LIGHT["muted"]), label=plain(word))
        base += values
    total = int(base.sum())
    axis.set_ylim(0, base.max() * 1.28)
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.grid(False, axis="x")
    published = [value for value in _numbers(case.published.get("updates"))]
    if exact:
        for place, value in zip(x, base):
            axis.text(
                place, value, f"{int(value)}", ha="center", va="bottom", fontsize=7.8, color=LIGHT["muted"]
            )
        axis.set_xticks(x)
        turn = len(x) > 5
        axis.set_xticklabels(
            [f"{value:,.0f}" for value in places],
            rotation=40 if turn else 0,
            ha="right" if turn else "center",
        )
        axis.set_xlim(
            min(-0.9, -0.5 - 0.2 * len(x)) if len(x) < 3 else -0.7, len(x) - (0.1 if len(x) < 3 else 0.3)
        )
        published = [float(np.flatnonzero(places == value)[0]) for value in published if value in places]
    handles, labels = axis.get_legend_handles_labels()
    if published:
        axis.plot(
            published,
            [0] * len(published),
            marker="^",
            ms=8,
            ls="none",
            color=LIGHT["published"],
            clip_on=False,
            zorder=5,
        )
        handles.append(Line2D([], [], marker="^", ms=6, ls="none", color=LIGHT["published"]))
        labels.append("published")
    axis.legend(
        handles, labels, loc="upper right", ncol=2, handlelength=1.1, columnspacing=1.0, handletextpad=0.4
    )
    axis.set_xlabel("updates at the stop")
    axis.set_ylabel(f"{case.unit}s")
    axis.set_title("When training stopped")
    return figure, f"How many of {count(total, case.unit)} stopped after how many updates, by how they ended."
