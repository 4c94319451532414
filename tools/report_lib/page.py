"""Puts the page together and writes it, and the figures as files where asked for."""

import os
import re
import tempfile

import jinja2
from markupsafe import Markup, escape

from . import tables
from .figures import case_plates
from .loading import DETAILED_CASES
from .overview import overview_plates
from .shape_figures import no_sweep
from .style import PALETTE, apply_settings, count, inline_svg, save_files

FORMATS = {"both": ("png", "svg"), "png": ("png",), "svg": ("svg",)}


def write_report(result, folder, figures_folder=None, figure_format="both"):
    """Writes folder/report.html under a temporary name and renames it; returns its path."""
    apply_settings()
    files = FigureFiles(figures_folder, FORMATS[figure_format]) if figures_folder else None
    text = render(result, files)
    path = os.path.join(folder, "report.html")
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


class FigureFiles:
    """Where figures are written as files: "<number>-<case>-<figure>.png"."""

    def __init__(self, folder, formats):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.formats = folder, formats

    def save(self, plate, number, case_name):
        name = re.sub(r"[^A-Za-z0-9._=+-]+", "_", f"{number:02d}-{case_name}-{plate.key}")
        save_files(plate.figure, os.path.join(self.folder, name), self.formats)


def render(result, files=None):
    """The page's text. Settings must have been applied."""
    number = 0

    def embed(plates, case_name):
        nonlocal number
        drawn = []
        for plate in plates:
            number += 1
            if files:
                files.save(plate, number, case_name)
            label = escape(f"{case_name}: {plate.key.replace('-', ' ')}")
            drawn.append(
                {
                    "svg": Markup(inline_svg(plate.figure, f"f{number}", label)),
                    "caption": plate.caption,
                    "columns": plate.columns,
                    "number": number,
                }
            )
        return drawn

    overview = embed(overview_plates(result.cases), "all-cases")
    details = []
    for index, case in enumerate(result.cases[:DETAILED_CASES]):
        plates, notes = case_plates(case)
        details.append(
            {
                "name": case.name,
                "anchor": f"case-{index}",
                "figures": embed(plates, case.name),
                "notes": notes,
                "facts": case_facts(case),
                "measures": tables.measure_rows(case, tables.metric_order(case.metrics)),
            }
        )
    common, varying = tables.config_tables(result.cases)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(
        result=result,
        summary=summary(result),
        verdicts=verdict_table(result.cases),
        remarks=[*remarks(result), *no_sweep(result.cases), *result.notes],
        independent=all(case.independent for case in result.cases),
        crossed=any(case.variance_shares for case in result.cases),
        overview=overview,
        details=details,
        detailed=DETAILED_CASES,
        common=common,
        varying=varying,
        count=count,
        provenance=tables.provenance_rows(result),
        timing=tables.timing_rows(result.timing),
        colors={role: {"light": light, "dark": dark} for role, (light, dark) in PALETTE.items()},
    )


def case_facts(case):
    """ "20 seeds: 19 converged, 1 diverged"."""
    return f"{case.members()}: {ended(case)}" if case.status else case.members()


def ended(case):
    """ "19 converged, 1 at the limit"; the number of seeds where the run did not record how they ended."""
    words = {"limit": "at the limit"}
    return ", ".join(f"{n} {words.get(word, word)}" for word, n in case.counts()) or f"{len(case.seeds)}"


def summary(result):
    """The page's first line: how much was compared, and with what outcome."""
    verdicts = [verdict for case in result.cases for verdict in case.verdicts.values()]
    counts = {}
    for verdict in verdicts:
        counts[verdict] = counts.get(verdict, 0) + 1
    parts = [
        {"text": f"{n} {verdict}", "kind": tables.verdict_kind(verdict)}
        for verdict, n in sorted(counts.items(), key=lambda pair: -pair[1])
    ]
    sizes = sorted({len(case.seeds) for case in result.cases}) or [0]
    least = f"{sizes[0]} to " if len(sizes) > 1 else ""
    unit = result.cases[0].unit if result.cases else "seed"
    return {
        "parts": parts,
        "compared": len(verdicts),
        "cases": count(len(result.cases), "case"),
        "members": least + count(sizes[-1], unit) + " each" * (len(result.cases) > 1),
    }


def remarks(result):
    """Why cases that could be judged have no verdicts."""
    judged = [case for case in result.cases if case.protocol]
    differ = [case.name for case in judged if case.protocol == "changed"]
    if not differ:
        return ["Members share seeds: no verdicts."] * any(case.member_seeds for case in judged)
    whose = "Settings"
    if len(differ) < len(judged):
        names = ", ".join(differ) if len(differ) <= DETAILED_CASES else f"{len(differ)} of {len(judged)} cases"
        whose = f"{names}: settings"
    return [f"{whose} differ from the published protocol: no published values, no verdicts."]


def verdict_table(cases):
    """One row a measure for few cases; one row a case, measures as columns, for many."""
    if len(cases) <= DETAILED_CASES:
        groups = []
        for index, case in enumerate(cases):
            names = case.shown or ["any measure"] * case.all_diverged()
            rows = tables.measure_rows(case, names)
            groups.append({"name": case.name, "anchor": f"case-{index}", "rows": rows})
        rows = [row for group in groups for row in group["rows"]]
        return {
            "wide": False,
            "groups": groups,
            "published": any(row["published"] != "–" for row in rows),
            "judged": any(row["verdict"] for row in rows),
        }
    names = list(dict.fromkeys(name for case in cases for name in case.shown))
    return {
        "wide": True,
        "names": [tables.metric_name(name) for name in names],
        "rows": [
            {"name": case.name, "facts": ended(case), "cells": tables.measure_rows(case, names)}
            for case in cases
        ],
    }
