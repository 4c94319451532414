"""Writes the results of a small imitation run, for tests of the report and for looking at its figures.

    /usr/bin/python3 tests/python/synthetic_result.py DIR [--seeds N] [--sweep | --epsilons | --votes | --lsn]
"""

import json
import os
import sys

import numpy as np
from synthetic_case import make_case


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
                "verdicts": {"least_p": "reproduced"},
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
