"""Figures of networks on images of shapes: what they say of images, what they look at, where they are right.

Each returns (figure, caption), or None when the case lacks what it shows. Sizes are CSS pixels.
"""

import math
import os

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from .curve_figures import draw_curve, spread_over
from .style import (
    FULL,
    HALF,
    LIGHT,
    MEDIUM,
    SET_LABELS,
    SET_MARKERS,
    SET_ROLES,
    SHAPE_SETS,
    count,
    new_figure,
    plain,
)
from .tables import flatten

COLUMNS = 8
ROWS = ("train", "iid", "swapped", "conflict", "uniform")
GROUND = LinearSegmentedColormap.from_list("shape", [LIGHT["ink"], LIGHT["surface"]])


def shape_names(case):
    """What the classes are called: by their masks."""
    names = [str(case.config.get(f"mask{k}", f"class {k}")) for k in range(2)]
    return [plain(os.path.splitext(os.path.basename(name))[0], 14) for name in names]


def varied(places):
    """Up to COLUMNS of the images, those first whose class and quarter of the canvas have not been shown yet."""
    seen, chosen, rest = set(), [], []
    for index, place in enumerate(places):
        (rest if place in seen else chosen).append(index)
        seen.add(place)
    return sorted((chosen + rest)[:COLUMNS])


def quarter(image):
    """In which quarter of the canvas the shape's middle lies."""
    rows, columns = np.nonzero(image != image.flat[0])
    if len(rows) == 0:
        return (0, 0)
    return (rows.mean() > image.shape[0] / 2, columns.mean() > image.shape[1] / 2)


def picture_rows(case):
    """[(label, images, classes, predicted or None)] of the sets that are there."""
    rows = []
    for name in ROWS:
        prefix = "train/" if name == "train" else f"images/{name}_"
        images = case.arrays.get("train/image" if name == "train" else f"images/{name}")
        classes = case.arrays.get(f"{prefix}class")
        if images is None or classes is None:
            continue
        chosen = varied([(int(c), *quarter(image)) for c, image in zip(classes, images)])
        predicted = None if name == "train" else case.arrays.get(f"{prefix}predicted")
        label = SET_LABELS.get(name, "training")
        rows.append((label, images[chosen], classes[chosen], None if predicted is None else predicted[chosen]))
    return rows


def draw_images(case):
    rows = picture_rows(case)
    if not rows:
        return None
    names = shape_names(case)
    figure = new_figure(FULL, 152 * len(rows))
    axes = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for line, (label, images, classes, predicted) in zip(axes, rows):
        for axis in line:
            axis.set_axis_off()
        for k, (axis, image, true) in enumerate(zip(line, images, classes)):
            axis.imshow(image, cmap=GROUND, vmin=min(0, image.min()), vmax=max(1, image.max()))
            said = int(true if predicted is None else predicted[k])
            right = said == int(true)
            text = names[said] if predicted is None else f"{names[said]} {'✓' if right else '✗'}"
            axis.set_title(text, color=LIGHT["ink" if right else "published"], fontsize=8, loc="center", pad=3)
        line[0].text(
            -0.08, 0.5, label, transform=line[0].transAxes, rotation=90, ha="right", va="center", fontsize=8.5
        )
    there = {name for name in SHAPE_SETS if f"images/{name}" in case.arrays}
    return figure, (
        "Images and what the first member says of them: ✓ right, ✗ wrong. Training images bear their class."
        + places_text(case.config.get("bias"), there)
    )


def places_text(bias, there):
    """Where the shapes of the sets that are there stand."""
    text = ""
    if "swapped" in there:
        text = " In swapped places every shape stands " + (
            "where training had the other one."
            if bias == 1
            else "in the biased places of the other one, some of which may lie beyond all that training gave it."
        )
    if "conflict" in there:
        text += " Conflicting places are those of them that are among its own uniform ones."
    return text


def draw_saliency(case):
    rows = [
        (name, case.arrays.get(f"saliency/{name}"), case.arrays.get(f"images/{name}"))
        for name in SHAPE_SETS
    ]
    rows = [row for row in rows if row[1] is not None and row[2] is not None]
    if not rows:
        return None
    names = shape_names(case)
    colors = LinearSegmentedColormap.from_list("pull", [LIGHT["class0"], LIGHT["surface"], LIGHT["class1"]])
    figure = new_figure(FULL, 152 * len(rows))
    axes = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for line, (name, gradient, images) in zip(axes, rows):
        for axis in line:
            axis.set_axis_off()
        classes = case.arrays.get(f"images/{name}_class", np.zeros(len(images)))
        chosen = varied([(int(c), *quarter(image)) for c, image in zip(classes, images)])
        limit = float(np.quantile(np.abs(gradient[chosen]), 0.995)) or 1.0
        for axis, index in zip(line, chosen):
            axis.imshow(gradient[index], cmap=colors, vmin=-limit, vmax=limit)
            shape = images[index] != images[index].flat[0]
            if shape.any():  # the canvas may have cropped all of it
                axis.contour(shape, levels=[0.5], colors=[LIGHT["ink"]], linewidths=0.8)
        line[0].text(
            -0.08, 0.5, SET_LABELS[name], transform=line[0].transAxes, rotation=90, ha="right", va="center",
            fontsize=8.5,
        )
    return figure, (
        "Saliency: the gradient of the first member's logit difference at each pixel of test images, with the shape's "
        f"outline. Light there speaks for the {names[0]} (blue) or for the {names[1]} (vermilion); scales differ by row."
    )


def draw_places(case):
    """Where the shapes of the test sets lie, and what the first member makes of them."""
    there = [name for name in SHAPE_SETS if f"offsets/{name}" in case.arrays and f"scores/{name}" in case.arrays]
    if not there:
        return None
    names = shape_names(case)
    figure = new_figure(FULL, MEDIUM)
    axes = figure.subplots(1, len(there), squeeze=False, sharex=True, sharey=True)[0]
    for axis, name in zip(axes, there):
        offsets, scores = case.arrays[f"offsets/{name}"][0], case.arrays[f"scores/{name}"][0]
        classes = case.arrays.get(f"classes/{name}", np.zeros((1, len(scores))))[0]
        for k, marker in enumerate(("o", "^")):
            for said in (0, 1):
                chosen = (classes == k) & ((scores > 0) == bool(said))
                axis.scatter(
                    *offsets[chosen][:800].T, s=7, marker=marker, color=LIGHT[f"class{said}"], alpha=0.55, linewidth=0
                )
        axis.set_title(f"{SET_LABELS[name]}: {np.mean((scores > 0) == (classes == 1)):.1%} right")
        axis.set_xlabel("offset to the right")
    axes[0].set_ylabel("offset downwards")
    axes[0].invert_yaxis()
    return figure, (
        f"Offsets of test shapes, ○ {names[0]} and △ {names[1]}, in the colour of what the first member says: blue "
        f"{names[0]}, vermilion {names[1]}. Where one colour covers both marks, the place decides."
    )


def draw_shape_measures(case):
    found = [(name, interval) for name in SHAPE_SETS if (interval := case.interval(f"{name}_accuracy"))]
    if not found:
        return None
    figure = new_figure(HALF, MEDIUM)
    axis = figure.subplots()
    for k, (name, interval) in enumerate(found):
        axis.bar(k, interval.mean, width=0.55, color=LIGHT["converged"], linewidth=0)
        bars = np.transpose([interval.bars])
        axis.errorbar(k, interval.mean, yerr=bars, color=LIGHT["ink"], elinewidth=1.2)
        axis.annotate(f"{interval.mean:.3f}", (k, interval.mean), (0, 5), textcoords="offset points", ha="center")
    axis.axhline(0.5, color=LIGHT["spine"], linewidth=0.9, linestyle=(0, (2, 2)))
    axis.set_xticks(range(len(found)), [SET_LABELS[name] for name, _ in found])
    axis.set_ylim(0, 1.1)
    axis.set_ylabel("accuracy")
    axis.set_title("Accuracy by test set")
    axis.grid(False, axis="x")
    return figure, (
        f"Accuracy on each test set: mean and {case.spread} over {count(found[0][1].n, case.unit)}; dotted: chance."
    )


# ---- sweeps ------------------------------------------------------------------------------------------------


PLACES = ("biased0", "biased1", "uniform0", "uniform1")


def with_images(cases):
    return [case for case in cases if "uniform_accuracy" in case.metrics]


def varying(cases):
    """The fields in which cases of images differ, but for those that follow from the canvas."""
    flats = [flatten(case.config) for case in cases]
    keys = [key for key in flats[0] if len({repr(flat.get(key)) for flat in flats}) > 1] if flats else []
    follow = ("inputs", *PLACES) if "canvas" in keys else ()
    return [key for key in keys if key not in follow]


def swept(cases):
    """(field, [x], [label]) of the one field in which cases of images differ; None where there is no such field, or its
    values have no order. Of networks it is depth or width where they differ in that alone."""
    keys = varying(cases)
    if len(keys) != 1:
        return None
    (key,) = keys
    values = [flatten(case.config).get(key) for case in cases]
    if key == "hidden":
        return swept_networks(values)
    if key == "canvas":
        return key, [math.prod(map(int, value.split("x"))) for value in values], values
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return None
    return key.replace("_", " "), [float(value) for value in values], [f"{value:g}" for value in values]


def swept_networks(values):
    """swept() of hidden layers, "64x64": in their order where neither depth nor width alone tells them apart."""
    widths = [[] if value == "linear" else [int(width) for width in value.split("x")] for value in values]
    depths = [len(of) for of in widths]
    if len({width for of in widths for width in of}) == 1:
        return "hidden layers", depths, [str(depth) for depth in depths]
    if len(set(depths)) == 1 and all(len(set(of)) == 1 for of in widths):
        return "width", [float(of[0]) for of in widths], [str(of[0]) for of in widths]
    return "hidden", [float(k) for k in range(len(values))], list(values)


def no_sweep(cases):
    """One sentence for a page of images without a curve over what varies; none where there is one, or one case."""
    shown = with_images(cases)
    keys = varying(shown)
    if not keys or swept(shown):
        return []
    listed = " and ".join(filter(None, (", ".join(keys[:-1]), keys[-1])))
    why = f"the cases differ in {listed}" if len(keys) > 1 else f"the values of {listed} have no order"
    return [f"No curve of accuracy against what varies: {why}."]


def draw_sweep(cases):
    shown = with_images(cases)
    axis_of = swept(shown) if len(shown) > 1 else None
    if axis_of is None:
        return None
    field, numbers, labels = axis_of
    order = sorted(range(len(shown)), key=lambda k: numbers[k])
    figure = new_figure(FULL, MEDIUM)
    axis = figure.subplots()
    for name in SHAPE_SETS:
        points = [(place, shown[k].interval(f"{name}_accuracy")) for place, k in enumerate(order)]
        role = SET_ROLES[name]
        draw_curve(axis, points, role, SET_MARKERS[name], SET_LABELS[name])
        for place, k in enumerate(order):
            values = shown[k].metrics.get(f"{name}_accuracy", [])
            axis.scatter([place] * len(values), values, s=9, color=LIGHT[role], alpha=0.4, linewidth=0)
    axis.axhline(0.5, color=LIGHT["spine"], linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.9)
    axis.set_xticks(range(len(order)), [labels[k] for k in order])
    axis.set_xlabel(field)
    axis.set_ylabel("accuracy")
    axis.set_ylim(-0.04, 1.04)
    axis.legend(loc="best")
    axis.set_title("Shape or place?")
    return figure, (
        f"Accuracy on each test set against {field}: mean and {spread_over(shown)}, every {shown[0].unit} a dot; "
        "dotted: chance."
    )
