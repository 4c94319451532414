"""A case on slab data in an imitation of what a run records: (its part of result.json, its arrays).

Every number is measured on the data; only the classifiers are not trained: they are a squashed linear coordinate, or
bumps over the outer slabs of a 5-slab, with a little of the other coordinates.
"""

import zlib

import numpy as np

WIDTH = 1.0


def slab_coordinate(kind, y, random, margin=0.1):
    """One coordinate given the labels y [rows], as the slab data of Shah et al. 2020 define it."""
    rows = len(y)
    u, z = random.random(rows), random.choice([-1.0, 1.0], rows)
    m = margin * WIDTH
    if kind == "linear":
        return (2 * y - 1) * (m + (WIDTH - m) * u)
    if kind == "slab5":
        w = (2 * WIDTH - 8 * m) / 5
        centre = random.random(rows) < 0.75
        return z * np.where(
            y == 1, 0.5 * w + 2 * m + w * u, np.where(centre, 0.5 * w * u, 1.5 * w + 4 * m + w * u)
        )
    w = (2 * WIDTH - 12 * m) / 7
    pick = random.random(rows)
    ones = np.where(pick < 0.875, 0.5 * w + 2 * m, 2.5 * w + 6 * m) + w * u
    zeros = np.where(pick < 0.5, 0.5 * w * u, 1.5 * w + 4 * m + w * u)
    return z * np.where(y == 1, ones, zeros)


def roc_auc(score, y):
    order = np.argsort(score, kind="stable")
    ranks = np.empty(len(score))
    values = score[order]
    _, first, counts = np.unique(values, return_index=True, return_counts=True)
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    positives = int(y.sum())
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(y) - positives)))


def haar(dim, random):
    q, r = np.linalg.qr(random.standard_normal((dim, dim)))
    return q * np.sign(np.diag(r))


class Member:
    """Data of one seed and a classifier that has learnt the first coordinate to a given degree."""

    def __init__(self, kinds, rows, seed):
        self.random = np.random.default_rng(seed)
        self.kinds = kinds
        self.y = self.random.integers(0, 2, rows)
        self.x = np.column_stack([slab_coordinate(kind, self.y, self.random) for kind in kinds])
        self.leak = 0.06 * self.random.standard_normal(len(kinds))
        self.leak[0] = 0.0

    def score(self, x, skill=1.0):
        if self.kinds[0] == "linear":
            simple = x[:, 0]
        else:
            w = (2 * WIDTH - 8 * 0.1) / 5
            simple = 0.25 - np.abs(np.abs(x[:, 0]) - (w + 0.2))
        wobble = np.abs(x) @ self.leak
        return skill * (9.0 * np.tanh(3.2 * simple) + 2.0 * wobble) + (1 - skill) * 0.3 * np.sin(40 * wobble)

    def shuffled(self, coordinates):
        x = self.x.copy()
        x[:, coordinates] = x[np.ix_(self.random.permutation(len(x)), coordinates)]
        return x

    def loss(self, score):
        return float(np.mean(np.logaddexp(0, -(2 * self.y - 1) * score)))

    def accuracy(self, score):
        return float(np.mean((score > 0) == (self.y == 1)))


def attack_arrays(rotation, members, rows, dim):
    """Perturbations of the kinds that attacks leave, on coordinate 0 for the most part."""
    random = np.random.default_rng(11)

    def directed(count, stray):
        vectors = stray * random.standard_normal((count, dim))
        vectors[:, 0] += random.choice([-1.0, 1.0], count)
        return vectors

    kept = len(rotation)
    before = np.array([directed(rows, 0.02) for _ in range(kept)])
    universal = {name: directed(members, stray) for name, stray in (("svd_uap", 0.01), ("as_uap", 0.05))}
    frames = [rotation[min(m, kept - 1)] for m in range(members)]
    arrays = {"pgd/perturbation": np.einsum("krd,kde->kre", before, rotation).astype(np.float32)}
    for name, vectors in universal.items():
        arrays[f"{name}/perturbation"] = np.array([u @ w for u, w in zip(vectors, frames)], np.float32)
    values = np.array([np.linalg.svd(before[m % kept], compute_uv=False) for m in range(members)])
    arrays["svd_uap/singular_values"] = values
    return arrays


COLUMNS = (
    "updates",
    "train_accuracy",
    "train_loss",
    "test_accuracy",
    "test_loss",
    "s_randomized_auc",
    "sc_randomized_auc",
)


def history_of(member, sets, stop, check_every):
    """A row of COLUMNS per check: the first coordinate is learnt late."""
    history = []
    for updates in [*range(1, stop, check_every), stop]:
        skill = 1 / (1 + np.exp(-14 * (updates / stop - 0.75))) if updates > 1 else 0.0
        score = {key: member.score(x, skill) for key, x in sets.items()}
        measured = [f(score[key]) for key in ("standard", "sc_randomized") for f in (member.accuracy, member.loss)]
        aucs = [roc_auc(score[key], member.y) for key in ("s_randomized", "sc_randomized")]
        history.append((updates, *measured, *aucs))
    return history


def history_arrays(histories):
    """[members, checks] by name; what comes after a member's last check is −1 or NaN."""
    arrays, shape = {}, (len(histories), max(map(len, histories)))
    for column, key in enumerate(COLUMNS):
        table = np.full(shape, -1, np.int64) if key == "updates" else np.full(shape, np.nan)
        for row, history in enumerate(histories):
            table[row, : len(history)] = [check[column] for check in history]
        arrays[f"history/{key}"] = table
    return arrays


def kept_arrays(scores, seeds, rows, dim):
    """Of the members that are kept, (scores by set, member) each."""
    arrays = {}
    for key in ("standard", "s_randomized", "sc_randomized"):
        arrays[f"scores/{key}"] = np.array([values[key] for values, _ in scores], np.float32)
    arrays["scores/labels"] = np.array([member.y for _, member in scores], np.uint8)
    first, random = scores[0][1], np.random.default_rng(7)
    arrays["rotation"] = np.array([haar(dim, random) for _ in scores])
    arrays["sample/x"], arrays["sample/y"] = first.x[:2000], first.y[:2000]
    points = random.uniform(0, 1, (60_000, dim))
    points[:, :2] = random.uniform(-1, 1, (len(points), 2))
    arrays["boundary/a"], arrays["boundary/b"] = points[:, 0], points[:, 1]
    noisy = first.score(points) + 0.6 * random.standard_normal(len(points))
    arrays["boundary/coordinates"] = np.array([0, 1], np.int32)
    arrays["boundary/label"] = (noisy > 0).astype(np.int64)
    strength = random.random((len(scores), 100)) ** 3  # of 100 units
    sign = random.choice([-1.0, 1.0], strength.shape)
    cosine = sign * strength + random.standard_normal(strength.shape) / np.sqrt(dim)
    arrays["alignment/cosine"] = cosine.clip(-1, 1)
    arrays["alignment/norm"] = 0.55 + 1.6 * strength + 0.05 * random.standard_normal(strength.shape)
    arrays.update(attack_arrays(arrays["rotation"], seeds, rows, dim))
    return arrays


METRICS = (
    "standard_auc",
    "s_randomized_auc",
    "sc_randomized_auc",
    "standard_accuracy",
    "s_randomized_accuracy",
    "sc_randomized_accuracy",
    "train_accuracy",
    "train_loss",
    "updates",
)


def make_case(
    name,
    kinds,
    seeds,
    *,
    rows=2000,
    stop=5001,
    check_every=5000,
    published=None,
    config=None,
    kept=3,
    diverged=(),
):
    dim = len(kinds)
    metrics = {key: [] for key in METRICS}
    status, histories, scores, per_coordinate = [], [], [], []
    members = [Member(kinds, rows, [zlib.crc32(name.encode()), seed]) for seed in range(seeds)]
    complement = list(range(1, dim))
    for index, member in enumerate(members):
        stop_here = stop if not callable(stop) else stop(index)
        if index in diverged:
            for values in metrics.values():
                values.append(None)
            status.append("diverged")
            histories.append([(1, 0.5, 2e6, 0.5, 2e6, 0.5, 0.5)])
            per_coordinate.append([np.nan] * dim)
            continue
        sets = {
            "standard": member.x,
            "s_randomized": member.shuffled([0]),
            "sc_randomized": member.shuffled(complement),
        }
        values = {key: member.score(x) for key, x in sets.items()}
        for key, score in values.items():
            metrics[f"{key}_auc"].append(roc_auc(score, member.y))
            metrics[f"{key}_accuracy"].append(member.accuracy(score))
        metrics["train_accuracy"].append(member.accuracy(values["standard"]))
        metrics["train_loss"].append(member.loss(values["standard"]))
        metrics["updates"].append(stop_here)
        status.append("converged")
        histories.append(history_of(member, sets, stop_here, check_every))
        per_coordinate.append([member.accuracy(member.score(member.shuffled([j]))) for j in range(dim)])
        if len(scores) < kept:
            scores.append((values, member))
    arrays = history_arrays(histories)
    if scores:
        arrays.update(kept_arrays(scores, seeds, rows, dim))
    arrays["per_coordinate_accuracy"] = np.array(per_coordinate)
    counts = {
        "linear": kinds.count("linear"),
        "slabs3": 0,
        "slabs5": kinds.count("slab5"),
        "slabs7": kinds.count("slab7"),
    }
    case = {
        "name": name,
        "seeds": list(range(seeds)),
        "status": status,
        "metrics": metrics,
        "shown": list(METRICS),
        "config": {
            "dim": dim,
            **counts,
            "margin": 0.1,
            "rotate": True,
            "train": 100_000,
            "test": rows,
            "hidden": "100x100",
            "activation": "relu",
            "optimizer": "sgd",
            "lr": 0.1,
            "momentum": 0.0,
            "weight_decay": 5e-5,
            "batch": 256,
            "simple": [0],
            **(config or {}),
        },
        "published": published or {},
        "verdicts": {},
        "tolerances": {"s_randomized_auc": 0.01},
    }
    return case, {f"{name}/{key}": array for key, array in arrays.items()}
