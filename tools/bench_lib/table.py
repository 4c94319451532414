"""The console table of a benchmark's result."""

from . import images


def columns(header, rows):
    """Lines of a table; the first column is flush left, the others right."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    ]


def net_name(hidden):
    return "x".join(map(str, hidden))


def ms(updates_per_second):
    return f"{1e3 / updates_per_second:.3f}"


def rival_rows(rivals):
    rows = []
    for row in rivals:
        name = row["name"] + (f" {row['version']}" if row["version"] else "")
        if row["status"] == "measured":
            rows.append(
                [
                    name,
                    net_name(row["net"]),
                    ms(row["updates_per_second"]),
                    ms(row["occam_updates_per_second"]),
                    f"{row['ratio']:.2f}x",
                ]
            )
        else:
            rows.append([name, net_name(row["net"]), row["status"], "", ""])
    return columns(["rival", "net", "its ms/update", "Occam's ms/update", "Occam is faster"], rows)


def whole_rows(whole):
    rows = []
    for row in whole:
        name = row["name"] + (f" {row['version']}" if row["version"] else "")
        if row["status"] == "measured":
            rows.append(
                [
                    name,
                    row["set"],
                    f"{row['seconds']:.2f} ({row['updates'][0]:,})",
                    f"{row['occam_seconds']:.2f} ({row['occam_updates'][0]:,})",
                    f"{row['ratio']:.2f}x",
                ]
            )
        else:
            rows.append([name, row["set"], row["status"], "", ""])
    return columns(
        ["rival", "set", "its s (updates)", "Occam's s (updates)", "Occam is faster, per update"], rows
    )


def cpu_lines(result):
    lines = sgemm_lines(result)
    if "shares" in result:
        lines = [*training_lines(result), "", *lines]
    if "attacks" in result:
        lines += ["", *attack_lines(result)]
    if "images" in result:
        lines += ["", *images.lines(result["images"], " on one core")]
    return lines


def sgemm_lines(result):
    lines = ["100%: OpenBLAS's sgemm"]
    for isa, best in result["sgemm"]["chosen"].items():
        lines.append(
            f"  {isa}: sgemm by OpenBLAS's {best['core']} kernels"
            + (f" (OPENBLAS_CORETYPE={best['coretype']})" if best["coretype"] else " (its own choice)")
            + f", FMA limit {result['fma_gflops'][isa]:.1f} GFLOP/s"
        )
    lines.append(
        "  tried: "
        + ", ".join(
            f"{entry['coretype'] or 'own choice'} ({entry['core']}) {entry['gflops']:.1f}"
            for entry in result["sgemm"]["tried"]
        )
    )
    return lines


def training_lines(result):
    lines = ["Share of one core's matrix-product peak while training"]
    rows = [
        [
            net_name(row["net"]) + (f", momentum {row['momentum']:g}" if row.get("momentum") else ""),
            row["instruction_set"],
            ms(row["updates_per_second"]),
            f"{row['gflops']:.1f}",
            f"{row['sgemm_gflops']:.1f}",
            f"{100 * row['share_of_sgemm']:.1f}%",
            f"{100 * row['share_of_fma']:.1f}%",
        ]
        for row in result["shares"]
    ]
    lines += columns(
        ["net", "ISA", "ms/update", "GFLOP/s", "sgemm GFLOP/s", "of sgemm", "of FMA limit"], rows
    )
    lines += ["", "Whole LMS-5 trainings, data and checks included"]
    lines += columns(
        ["threads", "members", "trainings/s"],
        [
            [str(row["threads"]), str(row["members"]), f"{row['members_per_second']:.3f}"]
            for row in result["throughput"]
        ],
    )
    resident, parameters = result["resident"], result["throughput"][0]["parameter_bytes"]
    lines.append(
        f"  a resident member holds {resident['bytes'] / 2**20:.1f} MiB, its {resident['rows']:,} training"
        f" rows are made in {resident['open_seconds']:.3f} s;"
        f" every member keeps {2 * parameters / 1024:.0f} KiB of parameters (last and best)"
    )
    lines += ["", "One update on one core, rivals in turns with Occam", *rival_rows(result["rivals"])]
    lines += ["", "(100,2) to its stop on one core", *whole_rows(result["whole"])]
    lines += ["", *ensemble_lines(result)]
    return lines


def percent(share):
    return "" if share is None else f"{100 * share:.1f}%"


def share_with_target(share, target):
    """"86.0% (target 85% met)"; a share that is None is empty."""
    if share is None or target is None:
        return percent(share)
    return f"{percent(share)} (target {100 * target:.0f}% {'met' if share >= target else 'missed'})"


def share_of_cublas(row):
    """Of a row of Occam's ensembles; a report may be older than it."""
    if (row.get("cublas_status") or "").startswith("failed"):
        return "failed"
    return share_with_target(row.get("share_of_cublas"), row.get("target_share_of_cublas"))


def times(ratio):
    return "" if ratio is None else f"{ratio:.2f}x"


def ensemble_lines(result):
    """Occam's ensembles, then those of the rivals."""
    ours, theirs = [], []
    for row in result["ensembles"]:
        problem = [net_name(row["net"]), row["precision"], str(row["members"])]
        if row["status"] != "measured":
            ours.append([*problem, row["status"], "", "", "", "", "", "", ""])
            continue
        ours.append(
            [
                *problem,
                f"{row['updates_per_second']:,.0f}",
                f"{row['gflops']:,.0f}",
                f"{row['models_per_second']:.3g}",
                f"{row['models_per_second_with_checks']:.3g}",
                percent(row["share_of_floor"]),
                percent(row.get("share_of_sgemm")),
                share_of_cublas(row),
                times(row.get("ratio_to_best_rival")),
            ]
        )
    for row in result["ensemble_rivals"]:
        name = " ".join(filter(None, (row["name"], row["version"])))
        problem = [name, net_name(row["net"]), row["precision"], str(row["members"])]
        if row["status"] != "measured":
            theirs.append([*problem, row["status"], "", "", "", ""])
            continue
        theirs.append(
            [
                *problem,
                f"{row['updates_per_second']:,.0f}",
                f"{row['models_per_second']:.3g}",
                f"{row['models_per_second_with_checks']:.3g}",
                times(row.get("ratio")),
                times(row.get("ratio_with_checks")),
            ]
        )
    speeds = ["models/s", "with checks"]
    shares = ["of floor", "of sgemm", "of cuBLAS"]
    return [
        "Ensembles: updates of all members together; a model is 5,000 updates, a check follows each 5,000",
        *columns(
            ["net", "precision", "members", "updates/s", "GFLOP/s", *speeds, *shares, "to best rival"], ours
        ),
        "",
        "Ensembles of rivals, in turns with Occam",
        *columns(
            ["rival", "net", "precision", "members", "updates/s", *speeds, "Occam is faster", "with checks"],
            theirs,
        ),
    ]


PART_NAMES = {"pgd": "PGD", "svd": "SVD-UAP", "as": "AS-UAP", "all": "all three"}


def outcome(row):
    """Accuracy on the perturbed rows and share on the simplest coordinate."""
    return [f"{row[name]:.4f}" if name in row else "" for name in ("accuracy", "share")]


def attack_lines(result):
    """Occam's attacks, then those of the rivals."""
    ours, theirs = [], []
    for row in result["attacks"]:
        problem = [PART_NAMES[row["part"]], str(row["members"]), str(row["threads"])]
        if row["status"] != "measured":
            ours.append([*problem, row["status"], "", "", "", "", "", "", ""])
            continue
        target = row["target_seconds"]
        ours.append(
            [
                *problem,
                f"{row['seconds']:.3f}",
                f"{row['open_seconds']:.3f}",
                f"{row['gflops']:,.1f}",
                percent(row["share_of_peak"]),
                percent(row["share_of_peak_without_opening"]),
                "" if target is None else f"{target} ({'met' if row['seconds'] <= target else 'missed'})",
                *outcome(row),
            ]
        )
    for row in result["attack_rivals"]:
        name = " ".join(filter(None, (row["name"], row["version"])))
        problem = [name, PART_NAMES[row["part"]], str(row["members"])]
        if row["status"] != "measured":
            theirs.append([*problem, row["status"], "", "", "", "", ""])
            continue
        theirs.append(
            [
                *problem,
                f"{1e3 * row['seconds_per_member']:,.1f}",
                f"{1e3 * row['occam_seconds_per_member']:,.1f}",
                times(row["ratio"]),
                times(row["ratio_without_opening"]),
                *outcome(row),
            ]
        )
    ends = ["accuracy", "share"]
    shares = ["of peak", "without opening"]
    return [
        "Attacks as in notebook 6: LMS-5, (200,1)-FCN, test rows; opening is making the rows and their range",
        *columns(
            ["attack", "members", "threads", "s", "opening s", "GFLOP/s", *shares, "target s", *ends], ours
        ),
        "",
        "Attacks of rivals, whose rows are there, in turns with Occam",
        *columns(
            [
                "rival",
                "attack",
                "members",
                "its ms a member",
                "Occam's",
                "Occam is faster",
                "without opening",
                *ends,
            ],
            theirs,
        ),
    ]


def cuda_lines(result, device=None):
    """What a GPU measured; of a report that is not complete, what there is."""
    units = {"_gflops": "GFLOP/s", "_gbs": "GB/s"}
    ceilings = [
        [name.removesuffix(suffix), f"{rate:,.0f} {unit}"]
        for name, rate in result["ceilings"].items()
        for suffix, unit in units.items()
        if name.endswith(suffix)
    ]
    sgemm = result["sgemm_gflops"]
    version = f" {result['cublas']}" if result.get("cublas") else ""
    ceilings.append([f"cuBLAS{version} sgemm", f"{sgemm:,.0f} GFLOP/s" if sgemm else result["sgemm_status"]])
    lines = [f"Ceilings of {device or result['occam']['device']}", *columns(["ceiling", "measured"], ceilings)]
    if "ensembles" in result:
        lines += ["", *ensemble_lines(result)]
    if "throughput" in result:
        lines += ["", "Whole LMS-5 trainings, data and checks included"]
        lines += columns(
            ["members", "trainings/s"],
            [[str(row["members"]), f"{row['members_per_second']:.2f}"] for row in result["throughput"]],
        )
    if "rivals" in result:
        lines += ["", "One network at a time, beside Occam's fastest ensemble", *rival_rows(result["rivals"])]
    if "attacks" in result:
        lines += ["", *attack_lines(result)]
    if "images" in result:
        lines += ["", *images.lines(result["images"])]
    return lines


def run_lines(report):
    """Runs on one GPU, each with what it measured and without the rest of a report."""
    body = []
    for run in report["runs"]:
        body += [f"{run['what']} (commit {run['commit']})", "", *cuda_lines(run, report["device"]), ""]
    return [*body, f"Protocol: {report['protocol']}; {report['date']}", f"Hardware: {report['device']}"]


def lines(report):
    """The whole table of a report (the object of --json), or of several runs that one object keeps."""
    if "runs" in report:
        return run_lines(report)
    machine, result, protocol = report["machine"], report["result"], report["protocol"]
    body = cpu_lines(result) if report["device"] == "cpu" else cuda_lines(result)
    return [
        *body,
        "",
        f"Protocol: LMS-5 (d=50, N={protocol['train_rows']:,}), batch 256, SGD, fp32; "
        f"{protocol['rounds']} turns of {protocol['stretch_seconds']} s each, medians; "
        f"{protocol['clock']} time; core {protocol['core']} alone where one core is named; {report['date']}",
        f"Hardware: {machine['cpu']}, {machine['cores_allowed']} cores"
        + "".join(f"; {gpu}" for gpu in machine["gpus"])
        + f"; {result['occam']['instruction_set']}; {result['occam']['compiler']}; "
        + " ".join(result["occam"]["openblas_config"].split()[:2]),
        *(f"Warning: {warning}" for warning in report["warnings"]),
    ]
