"""Curves over what was varied: the size of a vote, the strength of an attack, the dimension of LSN.

Each returns (figure, caption), or None when the cases lack what it shows. Sizes are CSS pixels.
"""

import math
import re

import numpy as np
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from .statistics import mean_interval
from .style import FULL, HALF, LIGHT, LOW, MEDIUM, SET_LABELS, SETS, count, new_figure, plain
from .tables import flatten, format_setting

_SERIES = (
    ("standard", "o"),
    ("s_randomized", "s"),
    ("sc_randomized", "D"),
    ("class1", "^"),
    ("validation", "v"),
    ("class3", "P"),
)


def draw_curve(axis, points, role, marker, label, **line):
    """points: [(x, interval or None)]; mean with bars. Returns whether there was anything to draw."""
    there = sorted(((x, interval) for x, interval in points if interval), key=lambda point: point[0])
    if there:
        axis.errorbar(
            [x for x, _ in there],
            [interval.mean for _, interval in there],
            yerr=np.transpose([interval.bars for _, interval in there]),
            color=LIGHT[role],
            marker=marker,
            ms=5,
            elinewidth=1.2,
            capsize=0,
            label=label,
            **line,
        )
    return bool(there)


def spread_over(cases):
    """ "95% interval over 20 seeds": what stands beside the means of a run's cases."""
    return f"{cases[0].spread} over {count(max(len(case.seeds) for case in cases), cases[0].unit)}"


# ---- votes -------------------------------------------------------------------------------------------------


def vote_table(case, measure):
    """{combiner: {size: values over seeds}} of one measure of votes.

    Two ways of naming are read: vote<size>_<combiner>_<measure>; and, where the configuration lists
    vote_sizes and combiners, <measure> for the first size and combiner, and
    <measure>[_<size>][_<combiner>] for the others, with the parts of which there are several.
    """
    found = {}
    for name, values in case.metrics.items():
        match = re.fullmatch(rf"vote(\d+)_([a-z]+)_{re.escape(measure)}", name)
        if match:
            found.setdefault(match.group(2), {})[int(match.group(1))] = values
    sizes, combiners = case.config.get("vote_sizes"), case.config.get("combiners")
    if not isinstance(sizes, list) or not isinstance(combiners, list):
        return found
    for combiner in combiners:
        for size in sizes:
            name = measure
            if (size, combiner) != (sizes[0], combiners[0]):
                name += f"_{size}" if len(sizes) > 1 else ""
                name += f"_{combiner}" if len(combiners) > 1 else ""
            if name in case.metrics:
                found.setdefault(str(combiner), {})[size] = case.metrics[name]
    return found


def draw_votes(case):
    for kind in ("accuracy", "auc"):
        tables = {name: vote_table(case, f"{name}_{kind}") for name in SETS}
        tables = {name: table for name, table in tables.items() if table}
        if tables:
            break
    else:
        return None
    sizes = sorted({size for table in tables.values() for by_size in table.values() for size in by_size})
    figure = new_figure(FULL, LOW)
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    for axis, (name, table) in zip(axes, tables.items()):
        for (combiner, by_size), (role, marker) in zip(table.items(), _SERIES):
            points = [
                (size, mean_interval(values, independent=case.independent)) for size, values in by_size.items()
            ]
            draw_curve(axis, points, role, marker, plain(combiner, 20))
        alone = case.interval(f"networks_{name}_{kind}")
        if alone:
            axis.axhline(
                alone.mean, color=LIGHT["muted"], linewidth=1.2, linestyle=(0, (3, 2)), label="networks"
            )
        axis.xaxis.set_major_locator(FixedLocator(sizes))
        axis.set_xlabel("networks in the vote")
        axis.set_title(f"{SET_LABELS[name]} {'AUC' if kind == 'auc' else 'accuracy'}")
    axes[0].legend(loc="best")
    dashed = "; dashed: mean of the networks, each on its own" if _has_dashed(axes) else ""
    return figure, (
        f"Votes by size and combiner: mean and {spread_over([case])}, each {case.unit} one vote of each size{dashed}. "
        "Each panel has its own scale."
    )


def _has_dashed(axes):
    return any(line.get_label() == "networks" for axis in axes for line in axis.lines)


# ---- strength of an attack ---------------------------------------------------------------------------------

_EPSILON = ("attack_epsilon", "adversary_epsilon")
_ROBUST = (
    ("standard_accuracy", "standard", "o", "no attack"),
    ("pgd_accuracy", "s_randomized", "s", "PGD"),
    ("svd_uap_accuracy", "test", "^", "SVD-UAP"),
    ("as_uap_accuracy", "class1", "v", "AS-UAP"),
)


def epsilon_groups(cases):
    """[(name, key, [(epsilon, case)])]: cases that differ in nothing but the strength of an attack. Where training and
    test are attacked with the same strength, it is that of the training; without an adversary it is 0."""
    configs = [flatten(case.config) for case in cases]
    trained = [config for config in configs if _EPSILON[1] in config]
    both = bool(trained) and all(len({config.get(key) for key in _EPSILON}) == 1 for config in trained)

    def others(config, key):
        return tuple(
            (field, repr(value))
            for field, value in config.items()
            if field != key and not (both and field in _EPSILON)
        )

    groups = {}
    for case, config in zip(cases, configs):
        for key in _EPSILON[1:] if both else _EPSILON:
            epsilon = config.get(key)
            if isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool):
                groups.setdefault((key, others(config, key)), []).append((float(epsilon), case))
    for (key, rest), members in groups.items():
        bare = tuple(item for item in rest if not item[0].startswith("adversary_"))
        for case, config in zip(cases, configs):
            if key == _EPSILON[1] and key not in config and others(config, key) == bare:
                members.append((0.0, case))
    found = []
    for (key, _), members in groups.items():
        if len({epsilon for epsilon, _ in members}) > 1:
            name = re.sub(r"\s*(\S*epsilon=\S+|\bepsilon [\d.e+-]+)", "", members[0][1].name).strip()
            found.append((name, key, sorted(members, key=lambda pair: pair[0])))
    return found


def draw_epsilons(cases):
    groups = [
        group
        for group in epsilon_groups(cases)
        if any(case.interval("pgd_accuracy") for _, case in group[2])
    ][:4]
    if not groups:
        return None
    figure = new_figure(HALF if len(groups) == 1 else FULL, MEDIUM)
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axis, (name, key, members) in zip(axes, groups):
        for metric, role, marker, label in _ROBUST:
            draw_curve(axis, [(x, case.interval(metric)) for x, case in members], role, marker, label)
        axis.axhline(0.5, color=LIGHT["spine"], linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.9)
        axis.set_xlabel("ε of the attack" if key == "attack_epsilon" else "ε in training")
        axis.set_title(plain(name, 40) or "Accuracy under attack")
    axes[0].set_ylabel("accuracy")
    axes[0].set_ylim(-0.04, 1.04)
    axes[-1].legend(loc="best")
    return figure, (
        f"Accuracy against the strength ε of an attack: mean and {spread_over(cases)}; dotted: one half."
    )


# ---- LSN ---------------------------------------------------------------------------------------------------

_Z_PARTS = (("initial", "standard", "initial weights"), ("moved", "class1", "after |w1| passed ‖w̄‖"))


def draw_identities(case):
    there = [
        part for part in _Z_PARTS if np.isfinite(case.arrays.get(f"identities/{part[0]}_z1", np.nan)).any()
    ]
    if not there:
        return None
    figure = new_figure(HALF, LOW)
    axes = figure.subplots(1, 2, sharey=True)
    edges = np.linspace(-5, 5, 41)
    x = np.linspace(-5, 5, 201)
    largest, scores = 0.0, 0
    for axis, which in zip(axes, ("z1", "z2")):
        for when, role, label in there:
            z = case.arrays[f"identities/{when}_{which}"]
            z = z[np.isfinite(z)]
            density = np.histogram(np.clip(z, -5, 5), edges)[0] / (len(z) * np.diff(edges))
            axis.stairs(density, edges, color=LIGHT[role], linewidth=1.6, label=label)
            axis.stairs(density, edges, color=LIGHT[role], alpha=0.12, fill=True, linewidth=0)
            largest, scores = max(largest, float(np.abs(z).max())), scores + len(z)
        axis.plot(x, np.exp(-x * x / 2) / math.sqrt(2 * math.pi), color=LIGHT["published"], linewidth=1.2)
        axis.set_xlabel(f"z of Δw{which[1]}")
        axis.set_ylim(0, None)
    axes[0].set_ylabel("density")
    axes[0].set_title("Scores of the step's identities")
    axes[1].legend(loc="upper right")
    return figure, (
        f"Monte Carlo mean of the step minus the identity, in standard errors: {scores:,} scores, the "
        f"largest {largest:.2f} in magnitude (beyond ±5 they stand at the edge). Curve: the standard normal "
        "density, from which each score of a correct identity is drawn; the neurons of a member share their "
        "samples, so their scores go together."
    )


_RATIOS = (("w2_over_w1", "class0", "o", "|w2| / |w1|"), ("rest_over_w1", "class1", "s", "‖w̄‖ / |w1|"))

_LINES = ("-", (0, (4, 1.6)), (0, (1.2, 1.4)), (0, (5, 1.4, 1.2, 1.4)))  # of the settings beside d


def draw_scaling(cases):
    shown = [
        case
        for case in cases
        if "w2_over_w1" in case.metrics and isinstance(case.config.get("dim"), (int, float))
    ]
    dims = sorted({case.config["dim"] for case in shown})
    if len(dims) < 2:
        return None
    slopes = {
        name: values
        for case in cases
        for name, values in case.metrics.items()
        if name.endswith("_slope")
    }
    groups = dimension_groups(shown)
    figure = new_figure(HALF, MEDIUM)
    axis = figure.subplots()
    axis.set_xscale("log")
    axis.set_yscale("log")
    for metric, role, marker, label in _RATIOS:
        slope = mean_interval(slopes.get(f"{metric}_slope", []), independent=shown[0].independent)
        if slope:
            label += f": slope {slope.mean:.2f}"
            label += f" ± {slope.half_width:.2f}" if math.isfinite(slope.half_width) else ""
        for k, (setting, of_setting) in enumerate(groups):
            points = [(case.config["dim"], case.interval(metric)) for case in of_setting]
            whose = f"{label}, {plain(setting, 24)}" if setting else label
            if len(groups) > len(_LINES):  # too many to be named
                whose = "" if k else label
            draw_curve(axis, points, role, marker, whose, linestyle=_LINES[k % len(_LINES)])
    axis.xaxis.set_major_locator(FixedLocator(dims))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("dimension d")
    axis.set_ylabel("ratio of means over the neurons")
    axis.set_title("Weights on what the network does not use")
    axis.legend(loc="best")
    said = (
        " The slopes are least-squares lines of the logarithms, member by member; they describe these dimensions and "
        "do not test the theorem, whose constants no real dimension reaches."
        if any(np.isfinite(values).any() for values in slopes.values())
        else ""
    )
    each = f" One line for each of {len(groups)} settings beside d." if len(groups) > 1 else ""
    return figure, f"Weights after training against that on x1: mean and {spread_over(shown)}.{each}{said}"


def dimension_groups(cases):
    """[(what sets them apart from the other groups, cases)]: cases that differ in nothing but the dimension."""
    groups = {}
    for case in cases:
        others = {key: value for key, value in flatten(case.config).items() if key != "dim"}
        groups.setdefault(repr(sorted(others.items())), (others, []))[1].append(case)
    settings = [others for others, _ in groups.values()]
    varying = [key for key in settings[0] if len({repr(others.get(key)) for others in settings}) > 1]
    return [
        (" ".join(f"{key}={format_setting(others.get(key))}" for key in varying), of_setting)
        for others, of_setting in groups.values()
    ]
