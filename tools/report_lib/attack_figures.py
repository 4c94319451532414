"""Figures of what attacks did to a case's models: perturbations by coordinate, universal ones beside them.

Each returns (figure, caption), or None when the case lacks what it shows. Sizes are CSS pixels.
"""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.ticker import MaxNLocator

from .coordinates import simple_coordinates
from .style import FULL, HALF, LIGHT, LOW, MEDIUM, count, new_figure

SHOWN_ROWS = 100
# Name in arrays.npz -> (label, colour).
UNIVERSAL = {"svd_uap": ("SVD", "test"), "as_uap": ("AS", "class1")}


def unrotated(perturbations, rotation):
    """Perturbations [..., d] of a model's inputs, seen before the rotation x -> xW: times W transposed."""
    return perturbations if rotation is None else perturbations @ rotation.T


def row_shares(perturbations):
    """|x_i| / |x| of every row of [rows, d]; a row of zeros keeps them, and is no part of a mean."""
    size = np.abs(perturbations)
    norm = np.linalg.norm(perturbations, axis=1, keepdims=True)
    return np.divide(size, norm, out=np.zeros_like(size), where=norm > 0)


# ---- perturbations of single rows --------------------------------------------------------------------------


def draw_perturbations(case):
    perturbation = case.arrays.get("pgd/perturbation")
    if perturbation is None:
        return None
    rotation, labels = case.arrays.get("rotation"), case.arrays.get("scores/labels")
    all_shares = row_shares(unrotated(perturbation[0], None if rotation is None else rotation[0]))
    shares, order = all_shares[:SHOWN_ROWS], None
    if labels is not None and labels.shape[1] == perturbation.shape[1]:
        order = np.argsort(labels[0, : len(shares)], kind="stable")
        shares = shares[order]
    figure = new_figure(HALF, MEDIUM)
    axis = figure.subplots()
    image = axis.imshow(shares, cmap=_shades("test"), vmin=0, vmax=1, aspect="auto")
    axis.grid(False)
    if order is not None:
        _mark_classes(axis, labels[0][order])
    axis.set_xlabel("coordinate" + (", before the rotation" if rotation is not None else ""))
    axis.set_ylabel("test row" + (", by class" if order is not None else ""))
    axis.xaxis.set_major_locator(MaxNLocator(12, integer=True, steps=[1, 2, 5, 10]))
    axis.set_title("Perturbations by PGD")
    bar = figure.colorbar(image, ax=axis, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("share of the row's norm")
    simple = simple_coordinates(case.config, shares.shape[1])
    caption = (
        f"Perturbations of {count(len(shares), 'test row')} of the first member: how much of each row's norm "
        "lies on each coordinate. "
    )
    moved = all_shares[all_shares.any(axis=1)]
    if not len(moved):
        return figure, caption + "No row was moved."
    of_simple = np.linalg.norm(moved[:, simple], axis=1).mean()
    return figure, caption + f"On S lies {of_simple:.4f} of it, on average over {count(len(moved), 'moved row')}."


def _shades(role):
    """From nearly transparent to a colour of the palette, so that the page's ground shows through."""
    color = to_rgb(LIGHT[role])
    return LinearSegmentedColormap.from_list(role, [(*color, 0.03), (*color, 1.0)])


def _mark_classes(axis, labels):
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1), len(labels)]
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color=LIGHT["ink"], linewidth=0.9)
    axis.set_yticks([(low + high - 1) / 2 for low, high in zip(edges, edges[1:])])
    axis.set_yticklabels([f"y = {int(labels[low])}" for low in edges[:-1]])
    axis.tick_params(axis="y", length=0)


# ---- universal perturbations -------------------------------------------------------------------------------


def universal_shares(case):
    """{name: [members, d]}: the share of each universal perturbation's norm, before the rotation.

    Where data are rotated, of the members whose rotation was kept. Zero perturbations count where all are.
    """
    rotation, found = case.arrays.get("rotation"), {}
    for name in UNIVERSAL:
        perturbation = case.arrays.get(f"{name}/perturbation")
        if perturbation is None:
            continue
        if rotation is None:
            rows = row_shares(perturbation)
        else:
            members = min(len(rotation), len(perturbation))
            rows = np.array(
                [
                    row_shares(unrotated(perturbation[m : m + 1], rotation[m]))[0]
                    for m in range(members)
                ]
            )
        made = rows[rows.any(axis=1)]
        found[name] = made if len(made) else rows
    return found


def draw_universal(case):
    shares = universal_shares(case)
    if not shares:
        return None
    values = case.arrays.get("svd_uap/singular_values")
    figure = new_figure(FULL, LOW)
    if values is None:
        axis, spectrum = figure.subplots(), None
    else:
        axis, spectrum = figure.subplots(1, 2, width_ratios=(2.6, 1))
    _share_bars(axis, shares)
    axis.set_xlabel("coordinate" + (", before the rotation" if "rotation" in case.arrays else ""))
    axis.set_title("Universal perturbations")
    if spectrum is not None:
        _draw_spectrum(spectrum, values)
    members = max(len(rows) for rows in shares.values())
    caption = (
        "Share of the norm of each universal perturbation on each coordinate, mean over "
        f"{count(members, 'member')} (thin: the range). A universal perturbation is one vector for the whole "
        "test set; with two classes it is added with the sign of 2y − 1"
    )
    if spectrum is not None:
        caption += (
            ". Right: singular values of the rows of PGD perturbations, relative to the first, of "
            f"{count(len(values), 'member')}; the SVD's is the first right singular vector"
        )
    return figure, caption + "."


def _share_bars(axis, shares):
    width = 0.8 / len(shares)
    for k, (name, rows) in enumerate(shares.items()):
        label, role = UNIVERSAL[name]
        place = np.arange(rows.shape[1]) + (k - (len(shares) - 1) / 2) * width
        axis.bar(place, rows.mean(axis=0), width=width, color=LIGHT[role], linewidth=0, label=label)
        if len(rows) > 1:
            axis.vlines(place, rows.min(axis=0), rows.max(axis=0), color=LIGHT["ink"], linewidth=0.7)
    axis.set_ylim(0, 1.05)
    axis.set_xlim(-0.8, next(iter(shares.values())).shape[1] - 0.2)
    axis.set_ylabel("share of the norm")
    axis.grid(False, axis="x")
    axis.xaxis.set_major_locator(MaxNLocator(14, integer=True, steps=[1, 2, 5, 10]))
    axis.legend(loc="upper right")


def _draw_spectrum(axis, values):
    first = np.where(values[:, :1] > 0, values[:, :1], np.nan)
    relative = np.where(values > 0, values / first, np.nan)
    index = np.arange(1, values.shape[1] + 1)
    for row in relative:
        axis.plot(index, row, color=LIGHT["test"], linewidth=1.0, alpha=0.5, marker="o", ms=2.2)
    if np.isfinite(relative).any():
        axis.set_yscale("log")
    axis.set_xlabel("number of the singular value")
    axis.set_ylabel("relative to the first")
    axis.set_title("Spectrum of the perturbations")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
