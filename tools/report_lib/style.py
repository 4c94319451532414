"""How figures look: one palette for paper and screen, matplotlib's settings, and their way into a page."""

import io
import re

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure  # noqa: E402  (the backend comes first)

# Role -> (light, dark). In the page the light colour becomes a CSS variable, so figures follow the reader's
# scheme; every light colour must therefore differ from the others. Class colours are Okabe and Ito's blue and
# vermilion; the three test sets differ in lightness, line style and marker too.
PALETTE = {
    "ink": ("#1e2530", "#e4e8ef"),
    "muted": ("#5d6778", "#a3adbd"),
    "spine": ("#8d97a7", "#6b7587"),
    "grid": ("#e7eaef", "#2b323e"),
    "surface": ("#ffffff", "#181c23"),
    "class0": ("#0072b2", "#4ba8e0"),
    "class1": ("#d55e00", "#ff8a3d"),
    "class2": ("#009e74", "#2fc79c"),
    "class3": ("#cc79a7", "#e39bc3"),
    "class4": ("#b39b00", "#e0cb3c"),
    "class5": ("#56b4e8", "#86cdf5"),
    "standard": ("#323c4d", "#c9d1dd"),
    "s_randomized": ("#a8328f", "#e37fd0"),
    "sc_randomized": ("#00866a", "#37c9a3"),
    "train": ("#7ab0dc", "#3f79a8"),
    "test": ("#123f6d", "#8cc4f2"),
    "validation": ("#c7861a", "#e8b04f"),
    "published": ("#b3261e", "#ff8f86"),
    "band": ("#f3e6b8", "#4a4224"),
    "converged": ("#4179b8", "#6fa6e3"),
    "limit": ("#d9a441", "#d9a442"),
    "diverged": ("#b04a4a", "#d97070"),
}
LIGHT = {role: colors[0] for role, colors in PALETTE.items()}
CLASS_COLORS = [LIGHT[f"class{index}"] for index in range(6)]

# Test sets: of slab data, and of images of shapes, which are drawn as their likes among the first.
SETS = ("standard", "s_randomized", "sc_randomized")
SHAPE_SETS = ("iid", "uniform", "swapped", "conflict")
SET_LABELS = {
    "standard": "standard",
    "s_randomized": "$S$-randomised",
    "sc_randomized": "$S^c$-randomised",
    "iid": "i.i.d. test",
    "uniform": "uniform places",
    "swapped": "swapped places",
    "conflict": "conflicting places",
    "pgd": "test under PGD",
}
SET_ROLES = {
    **{name: name for name in SETS},
    "iid": "standard",
    "uniform": "sc_randomized",
    "swapped": "s_randomized",
    "conflict": "class1",
    "pgd": "s_randomized",
}
SET_MARKERS = {"standard": "o", "s_randomized": "s", "sc_randomized": "D", "class1": "^"}
SET_MARKERS.update({name: SET_MARKERS[SET_ROLES[name]] for name in SHAPE_SETS})
SET_LINES = {"standard": "-", "s_randomized": "-", "sc_randomized": (0, (3.2, 1.6))}

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 7.8,
    "ytick.labelsize": 7.8,
    "legend.fontsize": 7.8,
    "axes.edgecolor": LIGHT["spine"],
    "axes.labelcolor": LIGHT["ink"],
    "text.color": LIGHT["ink"],
    "axes.titlecolor": LIGHT["ink"],
    "xtick.color": LIGHT["spine"],
    "ytick.color": LIGHT["spine"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.grid": True,
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "axes.unicode_minus": True,
    "legend.frameon": True,
    "legend.facecolor": LIGHT["surface"],
    "legend.edgecolor": "none",
    "legend.framealpha": 0.75,
    "legend.fancybox": False,
    "legend.borderpad": 0.25,
    "legend.handlelength": 1.8,
    "legend.borderaxespad": 0.2,
    "legend.labelspacing": 0.35,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "butt",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.dpi": 96,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.045,
    "figure.constrained_layout.w_pad": 0.045,
    "svg.fonttype": "path",
    "svg.hashsalt": "occam",
    "image.interpolation": "nearest",
}
# Sizes in CSS pixels: a page is 1120 wide, in rows of equal height.
FULL, TWO_THIRDS, HALF, THIRD = 1120, 740, 550, 362
TALL, MEDIUM, LOW = 350, 300, 260

RASTER_DPI = 220
PNG_DPI = 200


def apply_settings():
    """Matplotlib's own defaults first, so that a user's matplotlibrc changes no byte."""
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(SETTINGS)


def new_figure(width, height):
    """A figure of this many CSS pixels, without pyplot's global state."""
    return Figure(figsize=(width / 96, height / 96))


def count(n, one, many=None):
    """ "1 seed", "20 seeds"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def plain(text, most=60):
    """Text that matplotlib draws as it is: no mathematics, one line, cut in the middle when too long."""
    text = re.sub(r"\s+", " ", str(text))
    if len(text) > most:
        text = f"{text[:most // 2 - 1]}…{text[-(most // 2):]}"
    return text.replace("$", r"\$")


def svg_text(figure, facecolor="none"):
    """The figure as a standalone SVG document, without dates or versions."""
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        dpi=RASTER_DPI,
        facecolor=facecolor,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)


def inline_svg(figure, prefix, label):
    """The figure as an <svg> element: ids made unique by the prefix, palette colours as CSS variables.

    label: what a screen reader says; the caller escapes it.
    """
    text = svg_text(figure)
    text = text[text.index("<svg") :].strip()
    text = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL
    )  # the page's style sheet has it
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    for role, color in LIGHT.items():
        text = re.sub(rf"(?<=[ :\"]){color}\b", f"var(--fig-{role})", text, flags=re.IGNORECASE)
    opening = text[: text.index(">") + 1]
    width, height = (
        float(re.search(rf'{side}="([0-9.]+)pt"', opening).group(1)) for side in ("width", "height")
    )
    box = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}"'
    return f"<svg {box}>{text[len(opening):]}"


def save_files(figure, path_without_suffix, formats):
    """PNG and SVG files on white, for papers and slides."""
    if "svg" in formats:
        with open(f"{path_without_suffix}.svg", "w", encoding="utf-8") as file:
            file.write(svg_text(figure, "white"))
    if "png" in formats:
        figure.savefig(
            f"{path_without_suffix}.png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None}
        )
