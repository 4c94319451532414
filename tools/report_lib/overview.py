"""Figures over all cases of a run: a forest of the measures, and measures against the settings that vary."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .curve_figures import draw_epsilons, draw_scaling
from .shape_figures import draw_sweep
from .figures import Plate
from .style import FULL, LIGHT, SET_LABELS, SET_MARKERS, SETS, count, new_figure, plain
from .tables import flatten, format_setting, main_metrics

FOREST_CASES = 60
SETTING_PANELS = 4
MOST_TICKS = 24  # with labels, of a setting
_IGNORED = ("seed", "seeds", "name")  # fields that say who ran, not what was varied


@dataclass(frozen=True)
class Setting:
    """A field of the configuration that varies over the cases, or several that vary together."""

    label: str
    values: list  # one per case: a number, or text


def varying_settings(cases):
    """The settings that vary; fields that split the cases in the same way are one setting."""
    flats = [flatten(case.config) for case in cases]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    groups = {}
    for key in keys:
        texts = [format_setting(flat.get(key)) for flat in flats]
        if len(set(texts)) < 2 or key.split(".")[-1] in _IGNORED or "seed" in key.split(".")[-1]:
            continue
        first_seen = {}
        split = tuple(first_seen.setdefault(text, len(first_seen)) for text in texts)
        groups.setdefault(split, []).append(key)
    return [_setting(fields, flats) for fields in groups.values()]


def _setting(fields, flats):
    columns = [[flat.get(field) for flat in flats] for field in fields]
    if len(fields) == 1 and all(_is_number(value) for value in columns[0]):
        return Setting(fields[0], [float(value) for value in columns[0]])
    shown = columns[:3]
    values = [" / ".join(format_setting(value) for value in row) for row in zip(*shown)]
    return Setting(" / ".join(fields[:3]) + (" …" if len(fields) > 3 else ""), values)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def positions(setting):
    """(position of each case, tick positions, tick labels): logarithmic, linear or by category."""
    numeric = all(isinstance(value, float) for value in setting.values)
    levels = sorted(set(setting.values)) if numeric else list(dict.fromkeys(setting.values))
    if numeric and levels[0] > 0 and levels[-1] / levels[0] >= 8:
        place = {level: math.log10(level) for level in levels}
    elif numeric and len(levels) > 2 and levels[-1] - levels[0] < 8 * min(np.diff(levels)):
        place = {level: level for level in levels}
    else:
        place = {level: float(index) for index, level in enumerate(levels)}
    labels = [f"{level:g}" if numeric else plain(level, 22) for level in levels]
    return np.array([place[value] for value in setting.values]), [place[level] for level in levels], labels


def line_groups(settings, chosen):
    """Indices of the cases that agree in every setting but the chosen one, one list per line of a panel."""
    groups = {}
    for index in range(len(settings[chosen].values)):
        others = tuple(setting.values[index] for k, setting in enumerate(settings) if k != chosen)
        groups.setdefault(others, []).append(index)
    return list(groups.values())


def overview_plates(cases):
    """For one or two cases only curves that join them: their own figures say the rest."""
    curves = [
        Plate(key, *drawn, columns)
        for key, draw, columns in (
            ("epsilon", draw_epsilons, 12),
            ("scaling", draw_scaling, 6),
            ("sweep", draw_sweep, 12),
        )
        if (drawn := draw(cases))
    ]
    cases = [case for case in cases if main_metrics([case])]
    if len(cases) < 3:
        return curves
    kind = next(
        (kind for kind in ("auc", "accuracy") if _measured(cases, [f"{name}_{kind}" for name in SETS])), None
    )
    plates = []
    if kind:
        plates.append(Plate("overview", *_forest(cases, kind), 12))
    settings = varying_settings(cases)
    if settings:
        drawn = _settings_figure(cases, settings, kind)
        if drawn:
            plates.append(Plate("settings", *drawn, 12))
    return plates + curves


def _measured(cases, names):
    return [name for name in names if any(case.interval(name) for case in cases)]


# ---- all cases ---------------------------------------------------------------------------------------------


def _forest(cases, kind):
    shown = cases[:FOREST_CASES]
    figure = new_figure(FULL, 96 + 21 * len(shown))
    wide, close = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
    y = np.arange(len(shown))
    lift = {"standard": -0.22, "s_randomized": 0.0, "sc_randomized": 0.22}
    for axis in (wide, close):
        axis.grid(False, axis="y")
        for row in y[1::2]:
            axis.axhspan(row - 0.5, row + 0.5, color=LIGHT["grid"], alpha=0.45, linewidth=0, zorder=0)
    for name in SETS:
        _forest_points(wide, shown, f"{name}_{kind}", name, y + lift[name])
    metric = f"s_randomized_{kind}"
    tolerance = common_tolerance(shown, metric)
    if tolerance:
        close.axvspan(0.5 - tolerance, 0.5 + tolerance, color=LIGHT["band"], linewidth=0, zorder=0.5)
    close.axvline(0.5, color=LIGHT["spine"], linewidth=0.9, zorder=0.9)
    _forest_points(close, shown, metric, "s_randomized", y)
    for row, case in enumerate(shown):
        value = case.published.get(metric)
        if _is_number(value):
            close.plot([value], [row], marker="|", ms=11, mew=2, color=LIGHT["published"], zorder=4)
    wide.set_yticks(y)
    wide.set_yticklabels([plain(case.name, 44) for case in shown])
    wide.tick_params(axis="y", length=0)
    close.tick_params(axis="y", length=0)
    wide.set_ylim(len(shown) - 0.5, -0.5)
    name = "AUC" if kind == "auc" else "accuracy"
    for axis in (wide, close):
        left, right = axis.get_xlim()
        axis.set_xlim(max(left, -0.02), min(right, 1.02))
    spread = cases[0].spread
    wide.set_xlabel(f"{name} (mean, {spread})")
    close.set_xlabel(f"$S$-randomised {name} (mean, {spread})")
    wide.set_title("All cases")
    close.set_title("The $S$-randomised measure, close up")
    handles = [
        Line2D([], [], ls="none", marker=SET_MARKERS[name], ms=5, color=LIGHT[name], label=SET_LABELS[name])
        for name in SETS
        if _measured(shown, [f"{name}_{kind}"])
    ]
    wide.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncol=3, handletextpad=0.1, columnspacing=1
    )
    if any(_is_number(case.published.get(metric)) for case in shown):
        close.legend(
            handles=[
                Line2D(
                    [], [], ls="none", marker="|", ms=9, mew=2, color=LIGHT["published"], label="published"
                )
            ],
            loc="lower right",
            bbox_to_anchor=(1, 1),
            handletextpad=0.1,
        )
    cut = f"; the first {len(shown)} of {len(cases)}" if len(cases) > len(shown) else ""
    return figure, (
        f"Mean and {spread} over the {cases[0].unit}s of each of {count(len(cases), 'case')}{cut}"
        + ("; the yellow band is the tolerance of the mean around one half." if tolerance else ".")
    )


def common_tolerance(cases, metric):
    """The tolerance recorded for a measure, where it is the same for all cases; else None."""
    tolerances = {case.tolerances.get(metric) for case in cases}
    return tolerances.pop() if len(tolerances) == 1 else None


def _forest_points(axis, cases, metric, name, y):
    intervals = [case.interval(metric) for case in cases]
    there = [(interval, row) for interval, row in zip(intervals, y) if interval]
    if there:
        axis.errorbar(
            [interval.mean for interval, _ in there],
            [row for _, row in there],
            xerr=np.transpose([interval.bars for interval, _ in there]),
            ls="none",
            marker=SET_MARKERS[name],
            ms=4.5,
            color=LIGHT[name],
            elinewidth=1.4,
            capsize=0,
            zorder=3,
        )


# ---- settings ----------------------------------------------------------------------------------------------


def _settings_figure(cases, settings, kind):
    rows = []
    if kind:
        name = "ROC-AUC" if kind == "auc" else "accuracy"
        rows = [
            (name, [(f"{role}_{kind}", role, role) for role in SETS]),
            (f"{name}, $S$-randomised", [(f"s_randomized_{kind}", "s_randomized", "s_randomized")]),
        ]
    rows += [
        ("train accuracy", [("train_accuracy", "train", "standard")]),
        ("updates at the stop", [("updates", "test", "standard")]),
    ]
    rows = [(label, [entry for entry in series if _measured(cases, [entry[0]])]) for label, series in rows]
    rows = [row for row in rows if row[1]]
    if not rows:
        return None
    shown, left_out = settings[:SETTING_PANELS], settings[SETTING_PANELS:]
    figure = new_figure(FULL, 40 + 195 * len(rows))
    axes = figure.subplots(len(rows), len(shown), squeeze=False, sharey="row", sharex="col")
    for axis_row, (label, series) in zip(axes, rows):
        for column, axis in enumerate(axis_row):
            _setting_panel(axis, cases, settings, column, series)
        axis_row[0].set_ylabel(label)
        _scale_row(axis_row, cases, label, series)
    for axis, setting in zip(axes[-1], shown):
        axis.set_xlabel(plain(setting.label, 40))
    if len(rows[0][1]) > 1:
        handles = [
            Line2D([], [], marker=SET_MARKERS[role], ms=5, color=LIGHT[role], label=SET_LABELS[role])
            for _, role, _ in rows[0][1]
        ]
        figure.legend(
            handles=handles, loc="upper right", ncol=3, columnspacing=1.2, bbox_to_anchor=(0.995, 1.0)
        )
    figure.suptitle("Measures against settings", x=0.012, ha="left", fontsize=9, fontweight="bold")
    how = (
        "; pale lines join cases equal in all other settings, the bold line is their mean"
        if len(settings) > 1
        else ""
    )
    cut = f". Not drawn: {', '.join(setting.label for setting in left_out)}" if left_out else ""
    return figure, (
        f"Mean and {cases[0].spread} over the {cases[0].unit}s of {count(len(cases), 'case')} against each varying "
        f"setting"
        f"{how}{cut}."
    )


def _scale_row(axes, cases, label, series):
    """One scale for a row of panels: shares of at most 1, counts from 0 or logarithmic."""
    edges = [
        edge
        for case in cases
        for metric, _, _ in series
        if (interval := case.interval(metric))
        for edge in (
            interval.mean - interval.bars[0],
            interval.mean + interval.bars[1],
            interval.mean,
        )
    ]
    low, high = min(edges), max(edges)
    first = axes[0]
    if label == "updates at the stop":
        means = edges[2::3]
        if min(means) > 0 and max(means) > 20 * min(means):
            first.set_yscale("log")
            first.set_ylim(min(means) / 2, high * 1.3)
        else:
            first.set_ylim(0, high * 1.08)
            first.yaxis.set_major_locator(MaxNLocator(5))
        first.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        return
    tolerance = common_tolerance(cases, series[0][0]) if len(series) == 1 else None
    if tolerance and abs((low + high) / 2 - 0.5) < 0.1:
        for axis in axes:
            axis.axhspan(0.5 - tolerance, 0.5 + tolerance, color=LIGHT["band"], linewidth=0, zorder=0)
            axis.axhline(0.5, color=LIGHT["spine"], linewidth=0.9, zorder=0.9)
        low, high = min(low, 0.5 - tolerance), max(high, 0.5 + tolerance)
    span = max(high - low, 0.01)
    first.set_ylim(
        low - 0.1 * span if high - low >= 0.01 else high - span, min(high + 0.1 * span, 1 + 0.08 * span)
    )
    first.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _setting_panel(axis, cases, settings, chosen, series):
    place, ticks, labels = positions(settings[chosen])
    span = (max(ticks) - min(ticks)) or 1.0
    groups = line_groups(settings, chosen)
    alone = len(groups) == 1
    for k, (metric, role, marker) in enumerate(series):
        intervals = [case.interval(metric) for case in cases]
        mean = np.array([interval.mean if interval else math.nan for interval in intervals])
        bars = np.array([interval.bars if interval else (math.nan, math.nan) for interval in intervals])
        shift = (k - (len(series) - 1) / 2) * 0.018 * span  # series that coincide stay visible side by side
        for group in groups:
            order = sorted(
                (index for index in group if np.isfinite(mean[index])), key=lambda index: place[index]
            )
            axis.errorbar(
                place[order] + shift,
                mean[order],
                yerr=bars[order].T,
                color=LIGHT[role],
                linewidth=1.7 if alone else 0.8,
                alpha=1 if alone else 0.35,
                marker=SET_MARKERS[marker],
                ms=5 if alone else 3,
                elinewidth=1.2,
                capsize=0,
            )
        if not alone:
            levels = np.array([level for level in ticks if np.isfinite(mean[place == level]).any()])
            middle = [float(np.nanmean(mean[place == level])) for level in levels]
            axis.plot(
                levels + shift,
                middle,
                color=LIGHT[role],
                marker=SET_MARKERS[marker],
                ms=5.5,
                linewidth=2,
                zorder=4,
            )
    every = -(-len(ticks) // MOST_TICKS)
    ticks, labels = ticks[::every], labels[::every]
    crowded = sum(len(label) for label in labels) > 44
    axis.set_xticks(ticks)
    axis.set_xticklabels(labels, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    axis.set_xlim(min(place) - 0.12 * span, max(place) + 0.12 * span)
    axis.grid(False, axis="x")
    axis.tick_params(
        labelleft=axis.get_subplotspec().is_first_col(), labelbottom=axis.get_subplotspec().is_last_row()
    )
