"""The figure of the ensembles: models a second by members, Occam and its rivals, with and without checks."""

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from report_lib import style

from .table import net_name

COLORS = style.CLASS_COLORS[1:]
MARKERS = "sD^vP"


def series(result):
    """{(net, precision): {contestant: [(members, models/s, with checks)]}}, ascending, what was measured alone."""
    panels = {}
    for name_of, rows in (
        (lambda row: "Occam", result["ensembles"]),
        (lambda row: " ".join(filter(None, (row["name"], row["version"]))), result["ensemble_rivals"]),
    ):
        for row in rows:
            if row["status"] != "measured":
                continue
            panel = panels.setdefault((net_name(row["net"]), row["precision"]), {})
            panel.setdefault(name_of(row), []).append(
                (row["members"], row["models_per_second"], row["models_per_second_with_checks"])
            )
    return {
        key: {name: sorted(points) for name, points in panel.items()} for key, panel in panels.items()
    }


def save(report, path):
    """An SVG of a report's ensembles. Raises LookupError where none was measured, or where several runs were."""
    if "runs" in report:
        raise LookupError("the report keeps several runs; a figure is of one")
    panels = series(report["result"]) if "ensembles" in report["result"] else {}
    if not panels:
        raise LookupError("no ensembles were measured")
    style.apply_settings()
    figure = style.new_figure(
        style.HALF if len(panels) == 1 else style.THIRD * min(3, len(panels)),
        style.MEDIUM * -(-len(panels) // 3),
    )
    axes = figure.subplots(-(-len(panels) // 3), min(3, len(panels)), squeeze=False).flat
    for ax, ((net, precision), panel) in zip(axes, panels.items()):
        draw(ax, panel)
        ax.set_title(f"{net}, {precision}")
    for ax in list(axes)[len(panels) :]:
        ax.remove()
    figure.suptitle(f"Trainings of 5,000 updates a second, {report['device']}", fontsize=9)
    with open(path, "w", encoding="utf-8") as file:
        file.write(style.svg_text(figure, "white"))


def draw(ax, panel):
    members = sorted({point[0] for points in panel.values() for point in points})
    rivals = 0
    for name, points in panel.items():
        color, marker = style.LIGHT["class0"], "o"
        if name != "Occam":
            color, marker = COLORS[rivals % len(COLORS)], MARKERS[rivals % len(MARKERS)]
            rivals += 1
        x = [point[0] for point in points]
        ax.plot(x, [point[1] for point in points], color=color, marker=marker, ms=4, label=name)
        ax.plot(x, [point[2] for point in points], color=color, linestyle=(0, (3.2, 1.6)), lw=1)
    ax.plot([], [], color=style.LIGHT["muted"], linestyle=(0, (3.2, 1.6)), lw=1, label="with checks")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(FixedLocator(members))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    )
    ax.tick_params(axis="y", which="minor", labelsize=6.5)
    ax.set_xlabel("members")
    ax.set_ylabel("models a second")
    low, high = ax.get_ylim()
    ax.set_ylim(low * (low / high) ** 0.6, high)  # room for the legend below
    ax.legend(loc="lower right")
