"""Text of the page: numbers with intervals, names of measures, configurations, provenance."""

import json
import math
import re

from markupsafe import Markup, escape

from .style import SETS

_MAIN_METRICS = [
    "standard_auc",
    "s_randomized_auc",
    "sc_randomized_auc",
    "standard_accuracy",
    "s_randomized_accuracy",
    "sc_randomized_accuracy",
    "train_accuracy",
    "train_loss",
    "updates",
    "per_coordinate_simple_accuracy",
    "per_coordinate_other_least_accuracy",
]
_SETS = {
    "standard": Markup("standard"),
    "s_randomized": Markup("<i>S</i>-randomised"),
    "sc_randomized": Markup("<i>S</i><sup><i>c</i></sup>-randomised"),
    "s_swapped": Markup("<i>S</i>-swapped"),
    "sc_swapped": Markup("<i>S</i><sup><i>c</i></sup>-swapped"),
}
_KINDS = {"auc": "AUC", "accuracy": "accuracy", "loss": "loss", "agreement": "agreement with itself"}
_NAMES = {
    "best_at_update": "update of the best model",
    "per_coordinate_simple_accuracy": Markup("accuracy, a coordinate of <i>S</i> shuffled (mean)"),
    "per_coordinate_other_least_accuracy": "accuracy, another coordinate shuffled (least)",
    "pgd_accuracy": "accuracy under PGD",
    "pgd_norm": "mean norm of PGD's perturbations",
    "pgd_share": Markup("share of <i>S</i> in PGD's perturbations"),
    "svd_uap_accuracy": "accuracy under the SVD's universal perturbation",
    "svd_uap_share": Markup("share of <i>S</i> in the SVD's universal perturbation"),
    "as_uap_accuracy": "accuracy under the universal perturbation by normalised gradient descent",
    "as_uap_share": Markup("share of <i>S</i> in the universal perturbation by normalised gradient descent"),
    "max_abs_z": "largest |z| of the identities, initial weights",
    "max_abs_z_moved": "largest |z| of the identities, moved weights",
    "least_p": "least p of the identities, after Holm",
    "inactive_hinges": "inactive hinges among the samples",
    "moved_w1_over_rest": Markup("|w<sub>1</sub>| / ‖w̄‖ of the moved weights"),
    "w1_sqrt_k": Markup("|w<sub>1</sub>| √k"),
    "w2_over_w1": Markup("|w<sub>2</sub>| / |w<sub>1</sub>|"),
    "rest_over_w1": Markup("‖w̄‖ / |w<sub>1</sub>|"),
    "w2_over_w1_slope": Markup("slope of ln(|w<sub>2</sub>| / |w<sub>1</sub>|) over ln d"),
    "rest_over_w1_slope": Markup("slope of ln(‖w̄‖ / |w<sub>1</sub>|) over ln d"),
    "linear_updates": "updates with every hinge active",
}
_COMBINERS = {
    "average": "by the mean of logits",
    "softmax": "by the mean of probabilities",
    "linear": "by a linear combiner",
    "mlp": "by an MLP combiner",
}
# A measure of a vote of so many networks, combined so; the first of each has neither in its name.
_VOTE = re.compile(rf"(?P<measure>\w+?)(_(?P<size>\d+))?(_(?P<combiner>{'|'.join(_COMBINERS)}))?")
_MISSING = "–"


def metric_name(name):
    """The measure's name for readers; names unknown here are shown as they are."""
    known = _known_name(name)
    if known:
        return known
    model, base = _split_model(name)
    if model:
        return metric_name(base) + f", {model} model"
    if name.startswith("networks_"):
        return metric_name(name.removeprefix("networks_")) + ", mean of the networks"
    vote = _VOTE.fullmatch(name)
    if vote and _known_name(vote["measure"]):
        how = [f"of {vote['size']} networks"] * bool(vote["size"]) + [_COMBINERS.get(vote["combiner"])]
        return _known_name(vote["measure"]) + ", " + " ".join(filter(None, how))
    return escape(name.replace("_", " "))


def _known_name(name):
    if name in _NAMES:
        return _NAMES[name]
    for key, text in _SETS.items():
        kind = name[len(key) + 1 :]
        if name.startswith(key + "_") and kind in _KINDS:
            return text + " " + _KINDS[kind]
    return None


def _split_model(name):
    """("best", "train_loss") of "best_train_loss"; ("", name) of a measure of the evaluated model."""
    model, _, base = name.partition("_")
    return (model, base) if model in ("best", "last") and name not in _NAMES else ("", name)


def metric_order(names):
    """What every reader looks for first, then the rest; each evaluated model before the other one."""

    def rank(name):
        model, base = _split_model(name)
        return _MAIN_METRICS.index(base) if base in _MAIN_METRICS else len(_MAIN_METRICS), base, model

    return sorted(names, key=rank)


def main_metrics(cases):
    """Of the main measures those that some case has: AUC, or else accuracy; and how training went."""
    there = {name for case in cases for name in case.metrics if case.interval(name)}
    kind = "auc" if any(f"{name}_auc" in there for name in SETS) else "accuracy"
    wanted = [f"{name}_{kind}" for name in SETS] + ["train_accuracy", "updates"]
    return [name for name in wanted if name in there]


# ---- numbers -----------------------------------------------------------------------------------------------


def decimals_for(mean, half_width):
    """Digits after the point: two of the interval's, four for values of order one, six for small ones."""
    least, most = (4, 4) if 0.01 <= abs(mean) < 10 or mean == 0 else (0, 2) if abs(mean) >= 10 else (4, 6)
    scale = half_width if half_width and math.isfinite(half_width) else 0.0
    if not scale:  # no interval to go by: whole numbers stay whole
        if abs(mean) >= 10 and float(mean).is_integer():
            return 0
        scale = abs(mean)
    digits = 1 - math.floor(math.log10(scale)) if scale else 0
    return min(max(least, digits), most)


def format_interval(interval):
    """mean ± half width of the 95% interval; mean (least to most) where the values are not independent; the mean
    alone where one value gives neither."""
    if interval is None:
        return _MISSING
    decimals = decimals_for(interval.mean, max(interval.bars))
    text = f"{interval.mean:,.{decimals}f}"
    if not interval.independent and interval.n > 1:
        return f"{text} ({interval.low:,.{decimals}f} to {interval.high:,.{decimals}f})"
    return text if math.isnan(interval.half_width) else f"{text} ± {interval.half_width:,.{decimals}f}"


def format_number(value, decimals=None):
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _MISSING
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if decimals is not None:
            return f"{value:,.{decimals}f}"
        if float(value).is_integer() and abs(value) < 1e15:
            # A published 1.0 is a rounded measurement, a published 5001 a count.
            return f"{int(value):,}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.1f}"
        return f"{value:.6g}"
    return str(value)


def format_published(value):
    if value is None or isinstance(value, dict):
        return _MISSING
    if isinstance(value, list):
        return ", ".join(format_number(item) for item in value)
    return format_number(value)


def verdict_kind(text):
    """One of good, bad, open, other: the colour of a verdict."""
    text = text.lower()
    if text.startswith("reproduced"):
        return "good"
    if text.startswith("not "):
        return "bad"
    if text.startswith(("insufficient", "void")):
        return "open"
    return "other"


def verdict_mark(kind):
    return {"good": "✓", "bad": "✗", "open": "…", "other": "•"}[kind]


# ---- measures of a case ------------------------------------------------------------------------------------


def measure_rows(case, names):
    """One dict a measure: name, value, n, total, low, high, shares, published, verdict, kind, mark."""
    rows = []
    for name in names:
        interval = case.interval(name)
        verdict = case.verdicts.get(name, "")
        kind = verdict_kind(verdict)
        decimals = decimals_for(interval.mean, max(interval.bars)) if interval else None
        rows.append(
            {
                "name": metric_name(name),
                "value": "diverged" if case.all_diverged() else format_interval(interval),
                "n": interval.n if interval else 0,
                "total": len(case.seeds),
                "low": format_number(interval.low if interval else None, decimals),
                "high": format_number(interval.high if interval else None, decimals),
                "shares": variance_shares(case, name),
                "published": format_published(case.published.get(name)),
                "verdict": verdict,
                "detail": str(case.verdict_details.get(name, "")),
                "kind": kind,
                "mark": verdict_mark(kind),
            }
        )
    return rows


def variance_shares(case, name):
    """ "data 12.5%, init 80.0%, rest 7.5%": what a measure varies by, where seeds were crossed."""
    parts = case.variance_shares.get(name)
    if not isinstance(parts, dict):
        return ""
    return ", ".join(f"{factor} {_percentage(value)}" for factor, value in parts.items())


def _percentage(value):
    return f"{100 * value:.1f}%" if isinstance(value, (int, float)) else _MISSING


# ---- configurations ----------------------------------------------------------------------------------------


def flatten(config, prefix=""):
    """Nested objects to one level with dotted keys; lists and scalars stay."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def format_setting(value):
    """A configuration's value in one line; equal neighbours in a list are counted: 49 × {...}."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        runs = []
        for item in value:
            text = format_setting(item)
            if runs and runs[-1][1] == text:
                runs[-1][0] += 1
            else:
                runs.append([1, text])
        return ", ".join(text if times == 1 else f"{times} × {text}" for times, text in runs) or "[]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {format_setting(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def config_tables(cases):
    """(common, varying): [(field, text)] equal in all cases, and (fields, [(case, texts)]) of the rest."""
    flats = [flatten(case.config) for case in cases]
    keys = list(dict.fromkeys(key for flat in flats for key in flat))
    texts = {key: [format_setting(flat[key]) if key in flat else _MISSING for flat in flats] for key in keys}
    common = [(key, texts[key][0]) for key in keys if len(set(texts[key])) == 1]
    fields = [key for key in keys if len(set(texts[key])) > 1]
    rows = [(case.name, [texts[key][index] for key in fields]) for index, case in enumerate(cases)]
    return common, (fields, rows)


def provenance_rows(result):
    """[(what, text)]: device and precision, then everything the run recorded about itself."""
    device = " ".join(
        str(value)
        for value in (
            result.device.get("name"),
            f"({result.device.get('kind')})" if result.device.get("kind") else "",
        )
        if value
    )
    rows = [("device", device), ("precision", result.precision), ("version", result.version)]
    provenance = dict(result.provenance)
    commit, dirty = provenance.pop("commit", ""), provenance.pop("dirty", False)
    if commit:
        rows.append(("commit", f"{commit}{' with uncommitted changes' if dirty else ''}"))
    for key, value in provenance.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {format_setting(item)}" for name, item in value.items())
        rows.append((key.replace("_", " "), format_setting(value)))
    return [(key, text) for key, text in rows if text not in ("", "null")]


def timing_rows(timing):
    """Everything in timing.json is seconds but the updates and their rate."""
    rows = []
    for key, value in flatten(timing).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            name = key.replace(".", ", ").replace("_", " ")
            rows.append((name, f"{value:,.0f}") if "updates" in key else (f"time, {name}", f"{value:,.2f} s"))
    return rows
