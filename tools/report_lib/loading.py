"""Reads and checks what a run leaves behind: result.json (schema 1), arrays.npz and timing.json.

Keys may be missing, and then less is drawn; what is there must have the right type and shape.
"""

import json
import math
import os
import re
import zipfile
import zlib
from dataclasses import dataclass, field

import numpy as np

from .statistics import mean_interval
from .style import SHAPE_SETS, count

SCHEMA = 1
DETAILED_CASES = 8  # cases with figures of their own; of the others only result.json is read


class ReportError(Exception):
    """What is wrong, where, and how to mend it, in one line."""

    def __init__(self, message):
        super().__init__(re.sub(r"\s+", " ", str(message)).strip())


# Keys of arrays.npz below "<case>/", with the letters of their shape: s seeds, c checks, k members kept for
# detail, v members with a value, r test rows, d coordinates, m rows of the sample, p points, u units of a
# layer, 2 two. d means the same size everywhere in a case, the other letters within a group (the part before
# the slash). Of images of shapes, the same size everywhere: h, w height and width, l classes, i training
# images, j test images of a set, e kept members with scores, t test rows with a place.
ARRAY_SHAPES = {
    "history/updates": "sc",
    **{
        f"history/{name}": "sc"
        for name in (
            "train_accuracy",
            "train_loss",
            "test_accuracy",
            "test_loss",
            "validation_accuracy",
            "validation_loss",
            "s_randomized_auc",
            "sc_randomized_auc",
            "pgd_accuracy",
            *(f"{name}_accuracy" for name in SHAPE_SETS if name != "iid"),
        )
    },
    "scores/standard": "kr",
    "scores/s_randomized": "kr",
    "scores/sc_randomized": "kr",
    "scores/labels": "kr",
    "rotation": "kdd",
    "sample/x": "md",
    "sample/y": "m",
    "boundary/a": "p",
    "boundary/b": "p",
    "boundary/label": "p",
    "boundary/coordinates": "2",
    "per_coordinate_accuracy": "sd",
    "alignment/cosine": "ku",
    "alignment/norm": "ku",
    "pgd/perturbation": "krd",
    "svd_uap/perturbation": "vd",
    "svd_uap/singular_values": "vd",
    "as_uap/perturbation": "vd",
    "masks": "lhw",
    "train/image": "ihw",
    "train/class": "i",
    **{
        key.format(name): shape
        for name in SHAPE_SETS
        for key, shape in (
            ("images/{}", "jhw"),
            ("images/{}_class", "j"),
            ("images/{}_predicted", "j"),
            ("saliency/{}", "jhw"),
            ("scores/{}", "et"),
            ("classes/{}", "et"),
            ("offsets/{}", "et2"),
        )
    },
    **{f"identities/{when}_{which}": "su" for when in ("initial", "moved") for which in ("z1", "z2")},
}
INTEGER_ARRAYS = {
    "history/updates",
    "scores/labels",
    "sample/y",
    "boundary/label",
    "boundary/coordinates",
    "train/class",
    *(key for key in ARRAY_SHAPES if key.startswith(("classes/", "offsets/"))),
    *(key for key in ARRAY_SHAPES if key.endswith(("_class", "_predicted"))),
}
EVERYWHERE = "d2hwlijet"  # letters that mean one size in all of a case


@dataclass
class Case:
    name: str
    seeds: list
    config: dict
    status: list  # one word per seed; empty when not recorded
    metrics: dict  # name -> float array [seeds], NaN where that member has no value or diverged
    shown: list  # names of those that the console lists, in its order; of results without this list, of all
    published: dict  # name -> number, list of numbers, or dict
    verdicts: dict  # name -> str
    verdict_details: dict  # name -> str: the tests behind the verdict
    variance_shares: dict  # metric name -> {factor: share}, where seeds were crossed
    tolerances: dict  # name -> float: half the width of the accepted interval, where the run recorded it
    arrays: dict = field(default_factory=dict)
    member_seeds: dict = field(default_factory=dict)  # of a product of seeds: kind -> one seed per member
    protocol: str = ""  # published or changed, where there is one to judge by

    def seed_factors(self):
        """["2 data", "3 init"]: how many seeds of which kind a product crosses; kinds that run along one another are
        one factor."""
        kinds = {}
        for kind, seeds in self.member_seeds.items():
            if len(set(seeds)) > 1:
                kinds.setdefault(tuple(seeds), []).append(kind)
        return [f"{len(set(seeds))} {'+'.join(names)}" for seeds, names in kinds.items()]

    @property
    def independent(self):
        """Where several seeds are crossed, members share them."""
        return len(self.seed_factors()) < 2

    @property
    def unit(self):
        return "member" if self.member_seeds else "seed"

    @property
    def spread(self):
        """What stands beside a mean."""
        return "95% interval" if self.independent else "range"

    def interval(self, name):
        """Of a measure over the members; None where none has a value."""
        return mean_interval(self.metrics.get(name, []), independent=self.independent)

    def members(self):
        """ "20 seeds", or of a product "6 members, 2 data × 3 init seeds"."""
        factors = self.seed_factors()
        return count(len(self.seeds), self.unit) + (f", {' × '.join(factors)} seeds" if factors else "")

    def all_diverged(self):
        return bool(self.status) and set(self.status) == {"diverged"}

    def diverged(self):
        """[seeds], or None where the run did not record how its members ended."""
        return np.array(self.status) == "diverged" if self.status else None

    def stop_updates(self):
        """[seeds] updates done; for members that diverged, which have no metrics, from the history or NaN."""
        updates = self.metrics.get("updates", np.full(len(self.seeds), math.nan))
        history = self.arrays.get("history/updates")
        if history is None or len(history) != len(updates):
            return updates
        last = history.max(axis=1)
        return np.where(np.isfinite(updates), updates, np.where(last >= 0, last, math.nan))

    def counts(self):
        """How many members ended how: [(word, count)], the most frequent first."""
        words = sorted(set(self.status))
        return sorted(((word, self.status.count(word)) for word in words), key=lambda pair: -pair[1])


@dataclass
class Result:
    experiment: str
    version: str
    device: dict
    precision: str
    provenance: dict
    cases: list
    timing: dict
    notes: list  # what was not there, for the reader of the page


def load_result(folder):
    path = os.path.join(folder, "result.json")
    if not os.path.isdir(folder):
        raise ReportError(
            f"{folder}: no such folder; give the folder that --out made, with result.json in it"
        )
    if not os.path.isfile(path):
        raise ReportError(
            f"{path}: not found; give the folder of one experiment (the one that --out made holds one "
            "folder per experiment)"
        )
    document = _read_json(path)
    if document.get("schema") != SCHEMA:
        raise ReportError(
            f"{path}: schema is {document.get('schema')!r}, this tool reads schema {SCHEMA}; use the "
            "tools/report of the version that wrote it"
        )
    notes = []
    entries = _expect(document, "cases", list, path, [])
    cases = [_load_case(entry, index, path) for index, entry in enumerate(entries)]
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise ReportError(
                f"{path}: two cases are called {name!r}; their arrays cannot be told apart, rerun the "
                "experiment"
            )
    _load_arrays(os.path.join(folder, "arrays.npz"), cases[:DETAILED_CASES], notes)
    timing_path = os.path.join(folder, "timing.json")
    timing = _read_json(timing_path) if os.path.isfile(timing_path) else {}
    return Result(
        experiment=_expect(document, "experiment", str, path, "experiment"),
        version=_expect(document, "version", str, path, ""),
        device=_expect(document, "device", dict, path, {}),
        precision=_expect(document, "precision", str, path, ""),
        provenance=_expect(document, "provenance", dict, path, {}),
        cases=cases,
        timing=timing,
        notes=notes,
    )


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (ValueError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: not valid JSON ({error}); rerun the experiment") from error
    if not isinstance(document, dict):
        raise ReportError(
            f"{path}: expected a JSON object, found {type(document).__name__}; rerun the experiment"
        )
    return document


def _expect(owner, key, kind, where, default):
    """owner[key], which must be of this kind; absent or null means the default."""
    value = owner.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        wanted = {list: "a list", dict: "an object", str: "a string"}[kind]
        raise ReportError(
            f"{where}: {key} should be {wanted}, found {json.dumps(value)[:60]}; rerun the experiment"
        )
    return value


def _load_case(entry, index, path):
    where = f"{path}: cases[{index}]"
    if not isinstance(entry, dict):
        raise ReportError(
            f"{where}: expected an object, found {json.dumps(entry)[:60]}; rerun the experiment"
        )
    name = _expect(entry, "name", str, where, f"case {index}")
    where = f"{path}: case {name!r}"
    metrics = {
        key: _metric_values(value, f"{where}: metrics.{key}")
        for key, value in _expect(entry, "metrics", dict, where, {}).items()
    }
    seeds = _expect(entry, "seeds", list, where, None)
    if seeds is None:
        seeds = list(range(max((len(values) for values in metrics.values()), default=0)))
    status = _expect(entry, "status", list, where, [])
    for key, values in [*((f"metrics.{key}", values) for key, values in metrics.items()), ("status", status)]:
        if len(values) != len(seeds) and (key != "status" or status):
            raise ReportError(
                f"{where}: {key} has {len(values)} values for {len(seeds)} seeds; rerun the experiment"
            )
    status = [str(word) for word in status]
    if "diverged" in status:
        there = np.array(status) != "diverged"
        metrics = {key: np.where(there, values, math.nan) for key, values in metrics.items()}
    member_seeds = _expect(entry, "member_seeds", dict, where, {})
    for kind, values in member_seeds.items():
        if not isinstance(values, list) or len(values) != len(seeds) or not all(map(_is_number, values)):
            raise ReportError(
                f"{where}: member_seeds.{kind} should be a list with one seed per member; rerun the experiment"
            )
    verdicts = _expect(entry, "verdicts", dict, where, {})
    verdicts = {key: str(value) for key, value in verdicts.items() if value is not None}
    tolerances = {
        key: value
        for key, value in _expect(entry, "tolerances", dict, where, {}).items()
        if _is_number(value)
    }
    return Case(
        name=name,
        seeds=seeds,
        config=_expect(entry, "config", dict, where, {}),
        status=status,
        metrics=metrics,
        shown=[str(key) for key in _expect(entry, "shown", list, where, {**metrics, **verdicts})],
        published=_expect(entry, "published", dict, where, {}),
        verdicts=verdicts,
        verdict_details=_expect(entry, "verdict_details", dict, where, {}),
        variance_shares=_expect(entry, "variance_shares", dict, where, {}),
        tolerances=tolerances,
        member_seeds=member_seeds,
        protocol=str(entry.get("protocol", "")),
    )


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _metric_values(values, where):
    if not isinstance(values, list):
        raise ReportError(
            f"{where} should be a list with one value per seed, found {json.dumps(values)[:60]}; "
            "rerun the experiment"
        )
    for value in values:
        if value is not None and not _is_number(value):
            raise ReportError(
                f"{where} holds {json.dumps(value)[:60]}, which is neither a number nor null; rerun the "
                "experiment"
            )
    numbers = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, math.nan)


def _load_arrays(path, cases, notes):
    if not os.path.isfile(path):
        notes.append("arrays.npz is not there: histories, scores, samples and boundaries are not drawn.")
        return
    try:
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            for case in cases:
                keys = [key for key in ARRAY_SHAPES if f"{case.name}/{key}" in archive.files]
                case.arrays = _check_arrays(
                    {key: archive[f"{case.name}/{key}"] for key in keys}, f"{path}: case {case.name!r}"
                )
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ReportError(f"{path}: not a readable npz file ({error}); rerun the experiment") from error


def _check_arrays(arrays, where):
    """The arrays that are not empty, each of the right type and shape."""
    found, sizes = {}, {"2": (2, "a pair")}
    for key, array in arrays.items():
        letters = ARRAY_SHAPES[key]
        if array.size == 0:
            continue
        if array.dtype.kind not in ("biu" if key in INTEGER_ARRAYS else "biuf"):
            raise ReportError(f"{where}: {key} has type {array.dtype}; rerun the experiment")
        if array.ndim != len(letters):
            raise ReportError(
                f"{where}: {key} has {array.ndim} dimensions, expected {len(letters)}; rerun the "
                "experiment"
            )
        for letter, size in zip(letters, array.shape):
            group = letter if letter in EVERYWHERE else (letter, key.split("/", maxsplit=1)[0])
            known_size, known_key = sizes.setdefault(group, (size, key))
            if known_size != size:
                raise ReportError(
                    f"{where}: {key} has size {size} where {known_key} has {known_size}; rerun the "
                    "experiment"
                )
        if key.startswith("history/") and key != "history/updates":
            array = np.where(array >= 0, array, math.nan)  # a negative accuracy or loss says "not measured"
        found[key] = array
    return found
