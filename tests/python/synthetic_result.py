"""Writes the results of a small imitation run, for tests of the report and for looking at its figures.

    /usr/bin/python3 tests/python/synthetic_result.py DIR [--seeds N] [--sweep | --epsilons | --votes | --lsn]

The data are slab data and every number is measured on them; only the classifiers are not trained: they are a
squashed linear coordinate, or bumps over the outer slabs of a 5-slab, with a little of the other coordinates.
"""

import json
import os
import sys
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
    """Perturbations of the kinds that attacks leave, on coordinate 0 for the most part: (arrays, shares)."""
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
    shares = {
        name: np.abs(vectors[:, 0]) / np.linalg.norm(vectors, axis=1) for name, vectors in universal.items()
    }
    return arrays, shares


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
    metrics = {
        key: []
        for key in (
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
    }
    status, arrays, histories, scores, per_coordinate = [], {}, [], [], []
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
        checks = [*range(1, stop_here, check_every), *([stop_here] if (stop_here - 1) % check_every else [])]
        if checks[-1] != stop_here:
            checks.append(stop_here)
        history = []
        for updates in checks:
            skill = 1 / (1 + np.exp(-14 * (updates / stop_here - 0.75))) if updates > 1 else 0.0
            score = {key: member.score(x, skill) for key, x in sets.items()}
            history.append(
                (
                    updates,
                    member.accuracy(score["standard"]),
                    member.loss(score["standard"]),
                    member.accuracy(score["sc_randomized"]),
                    member.loss(score["sc_randomized"]),
                    roc_auc(score["s_randomized"], member.y),
                    roc_auc(score["sc_randomized"], member.y),
                )
            )
        histories.append(history)
        per_coordinate.append([member.accuracy(member.score(member.shuffled([j]))) for j in range(dim)])
        if len(scores) < kept:
            scores.append((values, member))
    longest = max(len(history) for history in histories)
    columns = (
        "updates",
        "train_accuracy",
        "train_loss",
        "test_accuracy",
        "test_loss",
        "s_randomized_auc",
        "sc_randomized_auc",
    )
    for column, key in enumerate(columns):
        table = np.full(
            (seeds, longest), -1 if key == "updates" else np.nan, np.int64 if key == "updates" else float
        )
        for row, history in enumerate(histories):
            table[row, : len(history)] = [check[column] for check in history]
        arrays[f"{name}/history/{key}"] = table
    if scores:
        for key in ("standard", "s_randomized", "sc_randomized"):
            arrays[f"{name}/scores/{key}"] = np.array([values[key] for values, _ in scores], np.float32)
        arrays[f"{name}/scores/labels"] = np.array([member.y for _, member in scores], np.uint8)
        first, random = scores[0][1], np.random.default_rng(7)
        arrays[f"{name}/rotation"] = np.array([haar(dim, random) for _ in scores])
        arrays[f"{name}/sample/x"], arrays[f"{name}/sample/y"] = first.x[:2000], first.y[:2000]
        points = random.uniform(0, 1, (60_000, dim))
        points[:, :2] = random.uniform(-1, 1, (len(points), 2))
        arrays[f"{name}/boundary/a"], arrays[f"{name}/boundary/b"] = points[:, 0], points[:, 1]
        noisy = first.score(points) + 0.6 * random.standard_normal(len(points))
        arrays[f"{name}/boundary/coordinates"] = np.array([0, 1], np.int32)
        arrays[f"{name}/boundary/label"] = (noisy > 0).astype(np.int64)
        units = 100
        strength = random.random((len(scores), units)) ** 3
        sign = random.choice([-1.0, 1.0], strength.shape)
        arrays[f"{name}/alignment/cosine"] = (
            sign * strength + random.standard_normal(strength.shape) / np.sqrt(dim)
        ).clip(-1, 1)
        arrays[f"{name}/alignment/norm"] = (
            0.55 + 1.6 * strength + 0.05 * random.standard_normal(strength.shape)
        )
        attacks, _ = attack_arrays(arrays[f"{name}/rotation"], seeds, rows, dim)
        arrays.update({f"{name}/{key}": array for key, array in attacks.items()})
    arrays[f"{name}/per_coordinate_accuracy"] = np.array(per_coordinate)
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
    return case, arrays


def make_result(seeds=20, dim=50, rows=2000):
    """LMS-5 and MS-(5,7) as extreme_slab records them: (result.json, arrays, timing.json)."""
    lms, lms_arrays = make_case(
        "LMS-5",
        ["linear"] + ["slab5"] * (dim - 1),
        seeds,
        rows=rows,
        stop=5001,
        check_every=500,
        published={"updates": 5001, "standard_auc": 1.0, "s_randomized_auc": 0.507, "sc_randomized_auc": 1.0},
    )
    ms, ms_arrays = make_case(
        "MS-(5,7)",
        ["slab5"] + ["slab7"] * (dim - 1),
        seeds,
        rows=rows,
        stop=lambda index: (11000, 16000, 16000, 16000, 21000)[index % 5],
        diverged={3} if seeds > 4 else (),
        published={
            "updates": 16000,
            "standard_auc": 1.0,
            "s_randomized_auc": 0.502,
            "sc_randomized_auc": 1.0,
            "test_accuracy_at": {"5000": 0.503, "10000": 0.5025, "15000": 1.0},
        },
    )
    for case in (lms, ms):
        case["verdicts"] = {
            "s_randomized_auc": "reproduced" if seeds >= 20 else "insufficient",
            "standard_auc": "reproduced",
            "sc_randomized_auc": "reproduced",
            "updates": "insufficient" if case is lms else "not reproduced",
        }
        case["verdict_details"] = {"s_randomized_auc": "90% interval [0.4968, 0.5072] against 0.5 ± 0.01"}
    return (
        document([lms, ms]),
        {**lms_arrays, **ms_arrays},
        {
            "total": 41.25,
            "cases": {"LMS-5": {"data": 2.5, "train": 11.75}, "MS-(5,7)": {"data": 2.5, "train": 24.5}},
        },
    )


def make_epsilons(seeds=5):
    """Attacks of several strengths on two data sets; no arrays."""
    random, cases = np.random.default_rng(3), []
    for name, strength in (("LMS-5", 0.4), ("MS-(5,7)", 0.2)):
        for epsilon in (0.0, 0.1, 0.25, 0.5, 1.0):
            left = 1 / (1 + np.exp(20 * (epsilon - strength)))
            cases.append(
                {
                    "name": f"{name} attack-epsilon={epsilon}",
                    "seeds": list(range(seeds)),
                    "status": ["converged"] * seeds,
                    "metrics": {
                        "standard_accuracy": [1.0] * seeds,
                        "pgd_accuracy": np.clip(left + 0.01 * random.standard_normal(seeds), 0, 1).tolist(),
                        "svd_uap_accuracy": np.clip(left + 0.1, 0, 1).repeat(seeds).tolist(),
                    },
                    "config": {"dim": 50, "linear": int(name == "LMS-5"), "attack_epsilon": epsilon},
                }
            )
    return document(cases, "universal_perturbations"), {}, {"total": 3.5}


def make_votes(seeds=5):
    """Votes of four sizes by two combiners, in the names that results have."""
    random = np.random.default_rng(5)
    sizes, combiners, metrics = [3, 1, 5, 10], ["average", "linear"], {}
    for combiner in combiners:
        for size in sizes:
            for measure, value in (("standard", 0.75 + 0.06 * np.log(size)), ("s_randomized", 0.5)):
                name = f"{measure}_accuracy"
                if (size, combiner) != (sizes[0], combiners[0]):
                    name += f"_{size}_{combiner}"
                noise = 0.005 * random.standard_normal(seeds) - 0.01 * (combiner == "linear")
                metrics[name] = (value + noise).tolist()
    metrics["networks_standard_accuracy"] = [0.75] * seeds
    case = {
        "name": "MS-5",
        "seeds": list(range(seeds)),
        "status": ["converged"] * seeds,
        "metrics": metrics,
        "config": {"dim": 50, "vote_sizes": sizes, "combiners": combiners},
    }
    return document([case], "ensembles"), {}, {"total": 30.0}


def make_lsn(seeds=5, neurons=100):
    """theorem_lsn over four dimensions: scores that are standard normal, weights that follow power laws."""
    random, cases, arrays = np.random.default_rng(9), [], {}
    for dim in (20, 50, 100, 200):
        name = f"LSN dim={dim}"
        noise = np.exp(0.02 * random.standard_normal((2, seeds)))
        z = {
            f"identities/{when}_{which}": random.standard_normal((seeds, neurons))
            for when in ("initial", "moved")
            for which in ("z1", "z2")
        }
        arrays.update({f"{name}/{key}": array.astype(np.float32) for key, array in z.items()})
        pair = [np.abs(z[f"identities/initial_{which}"]) for which in ("z1", "z2")]
        largest = np.maximum(*pair).max(axis=1)
        cases.append(
            {
                "name": name,
                "seeds": list(range(seeds)),
                "status": ["converged"] * seeds,
                "metrics": {
                    "max_abs_z": largest.tolist(),
                    "standard_accuracy": [1.0] * seeds,
                    "s_randomized_accuracy": (0.5 + 0.005 * random.standard_normal(seeds)).tolist(),
                    "sc_randomized_accuracy": [1.0] * seeds,
                    "w2_over_w1": (0.2 * noise[0] / dim).tolist(),
                    "rest_over_w1": (0.25 * noise[1] / np.sqrt(dim)).tolist(),
                    "updates": [50 + dim // 10] * seeds,
                },
                "config": {"dim": dim, "neurons": neurons, "lr": 0.1},
                "verdicts": {"max_abs_z": "reproduced"},
            }
        )
    slopes = {"w2_over_w1_slope": [-1.0] * seeds, "rest_over_w1_slope": (-0.5 + 0.01 * noise[0]).tolist()}
    cases.append(
        {
            "name": "scaling over d",
            "seeds": list(range(seeds)),
            "status": ["converged"] * seeds,
            "metrics": slopes,
            "config": {"cases": 4},
        }
    )
    return document(cases, "theorem_lsn"), arrays, {"total": 40.0}


def make_sweep(seeds=5, dim=10, rows=600):
    """A sweep over learning rate, batch size and activation."""
    cases, arrays = [], {}
    for activation in ("relu", "tanh"):
        for batch in (64, 256):
            for lr in (0.01, 0.03, 0.1, 0.3):
                name = f"lr={lr} batch={batch} activation={activation}"
                case, found = make_case(
                    name,
                    ["linear"] + ["slab5"] * (dim - 1),
                    seeds,
                    rows=rows,
                    stop=lambda index, lr=lr, batch=batch: int(40 / lr * 256 / batch) * (index % 3 + 1) + 1,
                    check_every=1000,
                    config={"lr": lr, "batch": batch, "activation": activation},
                    kept=1,
                )
                cases.append(case)
                arrays.update(found)
    return document(cases, "train_slab"), arrays, {"total": 12.5}


def document(cases, experiment="extreme_slab"):
    return {
        "schema": 1,
        "experiment": experiment,
        "version": "0.1.0",
        "device": {"kind": "cpu", "name": "AMD EPYC 7763 (AVX2)"},
        "precision": "fp32",
        "provenance": {
            "command": f"build/experiments/{experiment} --seeds 20 --out results",
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "dirty": False,
            "compiler": "g++ 12.2.0",
            "flags": "-O3 -mavx2 -mfma",
            "threads": 2,
            "libraries": {"fmt": "9.1.0", "libzip": "1.7.3"},
        },
        "cases": cases,
    }


def write(folder, result, arrays=None, timing=None):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "result.json"), "w", encoding="utf-8") as file:
        json.dump(result, file)
    if arrays is not None:
        np.savez(os.path.join(folder, "arrays.npz"), **arrays)
    if timing is not None:
        with open(os.path.join(folder, "timing.json"), "w", encoding="utf-8") as file:
            json.dump(timing, file)
    return folder


def main(arguments):
    seeds = int(arguments[arguments.index("--seeds") + 1]) if "--seeds" in arguments else 20
    others = {"--sweep": make_sweep, "--epsilons": make_epsilons, "--votes": make_votes, "--lsn": make_lsn}
    made = next((make() for flag, make in others.items() if flag in arguments), None) or make_result(seeds)
    print(write(arguments[0], *made))


if __name__ == "__main__":
    main(sys.argv[1:])
