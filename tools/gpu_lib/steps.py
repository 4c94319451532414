"""The checks of tools/gpu_check, one function each. A step is a dictionary: name, command, status (passed, failed,
unavailable or not run), seconds, and what it measured."""

import bisect
import json
import math
import pathlib
import re
import shutil
import statistics
import tempfile
import time

from bench_lib import images as bench_images

from .runner import run

# Cases that reach every kernel and are small enough for compute-sanitizer.
SMALL_CASES = (
    "*Train.EveryStepOfALayer/cuda:*Train.MembersDifferAndFreeze/cuda:*Train.ManyClasses/cuda:*Train.AroundTheTiles/cuda:"
    "*ScoreBody.AucOfTiesAndClasses/cuda:*ScoreBody.LittleMemory/cuda*:*ScoreBody.DataThroughAnIdentity/cuda:"
    "*AttackBody.MembersAlone/cuda:*AttackBody.UniversalOfManyMembers/cuda:*AttackBody.PaddingIsNoFeature/cuda:"
    "*AdversaryBody.AttacksByChunks/cuda*:*AdversaryBody.TrainingOnMovedBatches/cuda*:"
    "*ImageCompany.TrainingGivesTheTwinsBits/cuda:*ImageCompany.AttacksAreThoseOnTheSameRowsAsFloats/cuda:"
    "*PrecisionTest.ExactWhereNothingRounds/cuda*:*TrainOnTheChip.WholeBatches/cuda:*ImageCompany.LargerThanAStage/cuda:"
    "*TrainOnTheChip.SamplePass/cuda:*TrainOnTheChip.OneHiddenLayer/cuda:*InitializeBody.LeavesOtherMembersAlone/cuda:"
    "*ImageBody.OtherImagesForTheSameNetworks/cuda:"
    "*PrecisionTest.SizedBodiesInCompany/cuda:*Train.OneHiddenLayer/cuda:*ScoreBody.EverySplitAndVariant/cuda*"
)
SEEDS_OF_PRECISIONS = 100
EQUAL_WITHIN = 0.005  # margin of the means of accuracies and AUCs
STUDENT = 1.6604  # 95% quantile of Student's t with 99 degrees of freedom: two one-sided tests at 5%
DIFFERENT_BELOW = 0.05 / 4  # p of a distribution of updates that differs: 5%, four comparisons (Bonferroni)
LEARNT = 0.99  # i.i.d. accuracy of a network that has learnt stars_and_moons
# What ncu says where it cannot begin: no counters for this user, no library, another profiler at work.
CANNOT_PROFILE = re.compile(
    r"^==ERROR== .*(ERR_NVGPUCTRPERM|Failed to initialize|Failed to prepare|driver resource was unavailable|"
    r"not supported).*$",
    re.MULTILINE | re.IGNORECASE,
)
# What ncu shows: a name, the request to bench_worker that trains so (or several), the kernels, how many of their
# launches to pass by, and how many to profile. Where updates are one launch, fit() gives the first one, then, while they take less than
# an eighth of a second, 16, 64 and 256 at a time: those 256 are profiled.
CHIP = {"op": "fit", "members": 132, "max_updates": 1 + 16 + 64 + 256}
LAYERS = {"op": "fit", "members": 132, "max_updates": 1}
PROFILED = (
    ("(100,2) in fp32", CHIP, "resident_kernel|whole_batch_kernel", 3, 1),
    ("(100,2) in TF32", {**CHIP, "precision": "tf32"}, "resident_tensor_kernel|whole_batch_tensor_kernel", 3, 1),
    ("(100,2) in BF16", {**CHIP, "precision": "bf16"}, "resident_tensor_kernel|whole_batch_tensor_kernel", 3, 1),
    ("(200,1) in TF32", {**CHIP, "hidden": [200], "precision": "tf32"}, "one_hidden_tensor_kernel", 3, 1),
    ("(300,2) in fp32", {**LAYERS, "hidden": [300, 300]}, "sample_pass_kernel|weight_gradient_kernel", 0, 2),
    (
        "(600,2) in TF32",
        {**LAYERS, "hidden": [600, 600], "precision": "tf32"},
        "forward_kernel|input_gradient_kernel|weight_gradient_kernel",
        0,
        6,
    ),
    (
        "(2000,1) in fp32",
        {**LAYERS, "hidden": [2000]},
        "one_hidden_forward_kernel|one_hidden_backward_kernel",
        0,
        2,
    ),
    (
        "attacks of (200,1)",
        ({"op": "attack_open", "members": 132, "hidden": [200], "max_updates": 2001}, {"op": "attack", "part": "all"}),
        "fused_pgd_kernel|fused_universal_kernel",
        0,
        3,
    ),
    (
        "images of shapes",
        {"op": "fit_images", "members": 4, "updates": 1},
        "shape_forward_kernel|shape_weight_gradient_kernel",
        0,
        2,
    ),
)
FOUND_ERRORS = 86  # exit code of compute-sanitizer, unlike those of the tests


def last_lines(text, count=20):
    return "\n".join(text.strip().splitlines()[-count:])


def step(name, command, execute, timeout):
    begin = time.monotonic()
    code, output = execute(command, timeout)
    result = {
        "name": name,
        "command": " ".join(map(str, command)),
        "status": "passed" if code == 0 else "failed",
        "exit_code": code,
        "seconds": round(time.monotonic() - begin, 1),
    }
    if code != 0:
        result["output"] = last_lines(output)
    return result, output


def unavailable(name, why):
    return {"name": name, "status": "unavailable", "why": why}


def not_run(name, why):
    return {"name": name, "status": "not run", "why": why}


def count_tests(report):
    """Passed, failed and skipped tests of a GoogleTest JSON report."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for suite in report.get("testsuites", []):
        for test in suite.get("testsuite", []):
            if test.get("failures"):
                counts["failed"] += 1
            elif test.get("result") == "COMPLETED":
                counts["passed"] += 1
            else:
                counts["skipped"] += 1
    return counts


def run_tests(name, command, execute, timeout):
    """A step of GoogleTest's cases. Where nothing ran or something was skipped, nothing is proven: it failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        result, output = step(name, [*command, f"--gtest_output=json:{report}", "--gtest_brief=1"], execute, timeout)
        result["command"] = " ".join(map(str, command))
        try:
            counts = count_tests(json.loads(report.read_text()))
        except (OSError, ValueError):  # it ended before it wrote one
            counts = count_tests({})
    result["tests"] = counts
    if counts["passed"] == 0 or counts["failed"] > 0 or counts["skipped"] > 0:
        result["status"] = "failed"
        result.setdefault("output", last_lines(output))
    return result, output


def contract_tests(binary, execute=run):
    """All cases of the contract on CUDA."""
    return run_tests("contract tests", [binary, "--gtest_filter=*/cuda*"], execute, 1800)[0]


def sanitizer(tool, binary, execute=run):
    """Errors fail; warnings, which racecheck has of what warps do in step, are counted."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return unavailable(tool, "compute-sanitizer is not on PATH")
    command = [program, f"--tool={tool}", f"--error-exitcode={FOUND_ERRORS}", binary, f"--gtest_filter={SMALL_CASES}"]
    result, output = run_tests(tool, command, execute, 1800)
    if refused := re.search("Device not supported.*", output):
        return unavailable(tool, f"compute-sanitizer: {refused.group(0)}")
    found = re.search(
        r"SUMMARY: (\d+) hazards? displayed \((\d+) errors?, (\d+) warnings?\)|SUMMARY: (\d+) errors?", output
    )
    hazards, errors, warnings, of_memory = (int(n or 0) for n in found.groups()) if found else (0, 0, 0, 0)
    tests = result["tests"]
    if found and hazards and not errors:
        result["warnings"] = warnings
        if result["exit_code"] == FOUND_ERRORS and tests["passed"] and not tests["failed"] + tests["skipped"]:
            result["status"] = "passed"
    if not found or errors or of_memory:
        result["status"] = "failed"
    if result["status"] != "passed" or hazards:
        result.setdefault("output", last_lines(output))
    return result


def experiment(binary, execute=run):
    """extreme_slab, three seeds, on the GPU and on the CPU: their result.json hold the same metrics, to the bit."""
    if not pathlib.Path(binary).exists():
        return unavailable("extreme_slab", f"{binary} is not built")
    with tempfile.TemporaryDirectory() as folder:
        metrics = {}
        for device in ("cuda", "cpu"):
            out = pathlib.Path(folder) / device
            command = [binary, "--seeds", "3", "--quiet", "--device", device, "--out", out]
            result, _ = step("extreme_slab", command, execute, 3600)
            result["command"] = f"{binary} --seeds 3, on cuda and cpu"
            if result["status"] != "passed":
                return result
            document = json.loads((out / "extreme_slab" / "result.json").read_text())
            metrics[device] = [case["metrics"] for case in document["cases"]]
    result["same_as_cpu"] = metrics["cuda"] == metrics["cpu"] and len(metrics["cuda"]) > 0
    result["metrics"] = metrics["cuda"]
    if not result["same_as_cpu"]:
        result["status"] = "failed"
    return result


def equivalence(reference, values):
    """Two one-sided tests of the means: the 90% interval of the differences, seed by seed, lies within the margin."""
    differences = [b - a for a, b in zip(reference, values)]
    mean = statistics.fmean(differences)
    half = STUDENT * statistics.stdev(differences) / math.sqrt(len(differences))
    return {
        "difference": mean,
        "interval": [mean - half, mean + half],
        "margin": EQUAL_WITHIN,
        "equal": max(abs(mean - half), abs(mean + half)) <= EQUAL_WITHIN,
    }


def kolmogorov(x):
    """P(K > x) of Kolmogorov's distribution."""
    if x < 0.2:  # below, 1 - P < 1e-11, and the series converges slowly
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, sum(terms)))


def kolmogorov_smirnov(first, second):
    """The two-sample test: the largest distance of the two distribution functions, and its asymptotic p-value, which
    is too large where values repeat."""
    first, second = sorted(first), sorted(second)
    distance = max(
        abs(bisect.bisect_right(first, value) / len(first) - bisect.bisect_right(second, value) / len(second))
        for value in [*first, *second]
    )
    p = kolmogorov(distance * math.sqrt(len(first) * len(second) / (len(first) + len(second))))
    return {"statistic": distance, "p": p, "level": DIFFERENT_BELOW, "equal": p >= DIFFERENT_BELOW}


def precisions(binary, execute=run):
    """extreme_slab over 100 seeds in each precision: of both data sets the means of accuracies and AUCs, and the
    distribution of updates to the stop, are those of fp32. On MS-(5,7) members stop at different checks."""
    if not pathlib.Path(binary).exists():
        return unavailable("precisions", f"{binary} is not built")
    metrics = {}
    for precision in ("fp32", "tf32", "bf16"):
        with tempfile.TemporaryDirectory() as folder:
            command = [binary, "--seeds", str(SEEDS_OF_PRECISIONS), "--precision", precision]
            command += ["--device", "cuda", "--quiet", "--out", folder]
            result, _ = step("precisions", command, execute, 3600)
            result["command"] = f"{binary} --seeds {SEEDS_OF_PRECISIONS}, in fp32, tf32 and bf16"
            if result["status"] != "passed":
                return result
            document = json.loads((pathlib.Path(folder) / "extreme_slab" / "result.json").read_text())
            metrics[precision] = {case["name"]: case["metrics"] for case in document["cases"]}
    lost = [
        f"{case} in {precision}"
        for precision, of_precision in metrics.items()
        for case, of_case in of_precision.items()
        if any(None in of_case[name] for name in compared_metrics(of_case))
    ]
    if lost:  # a member that diverged has no metrics
        return {**result, "status": "failed", "output": f"members diverged: {', '.join(lost)}"}
    result["compared"] = {
        case: {precision: compare(of_fp32, metrics[precision][case]) for precision in ("tf32", "bf16")}
        for case, of_fp32 in metrics["fp32"].items()
    }
    entries = [entry for case in result["compared"].values() for of_one in case.values() for entry in of_one.values()]
    if not entries or not all(entry["equal"] for entry in entries):
        result["status"] = "failed"
        result["output"] = json.dumps(result["compared"])
    return result


def compared_metrics(metrics):
    return [name for name in metrics if name.endswith(("_auc", "_accuracy"))] + ["updates"]


def compare(reference, metrics):
    return {
        name: (kolmogorov_smirnov if name == "updates" else equivalence)(reference[name], metrics[name])
        for name in compared_metrics(reference)
    }


def first_object(output):
    """The first JSON object that begins a line of a command's output; None if there is none."""
    for begin in re.finditer(r"^\{", output, re.MULTILINE):
        try:
            return json.JSONDecoder().raw_decode(output, begin.start())[0]
        except ValueError:
            continue
    return None


def asking(name, request, *command):
    """What sends a request, or several in their order, to a command that reads bench_worker's."""
    pipe = 'request=$1; shift; printf "%s\\n" "$request" | "$@"'
    requests = request if isinstance(request, tuple) else (request,)
    lines = "\n".join(json.dumps(one, separators=(",", ":")) for one in requests)
    return ["sh", "-c", pipe, name, lines, *map(str, command)]


def ask(name, worker, request, execute, timeout):
    """A step of one request to bench_worker, and its reply; the step has failed where there is none."""
    result, output = step(name, asking(name, request, worker), execute, timeout)
    reply = first_object(output) if result["status"] == "passed" else None
    if reply is None or "error" in reply:
        result["status"], result["output"] = "failed", last_lines(output)
    return result, reply


def ceilings(worker, execute=run):
    """What the device does at best: FFMA, mma.sync in TF32 and BF16, copy, shared memory."""
    if not pathlib.Path(worker).exists():
        return unavailable("ceilings", f"{worker} is not built")
    result, measured = ask("ceilings", worker, {"op": "ceilings"}, execute, 300)
    if result["status"] == "passed":
        result["measured"] = measured
        if min(measured.values(), default=0) <= 0:
            result["status"], result["output"] = "failed", json.dumps(measured)
    return result


def images(worker, execute=run):
    """stars_and_moons' training of many members at once: every one must learn its training distribution."""
    if not pathlib.Path(worker).exists():
        return unavailable("images", f"{worker} is not built")
    request = {"op": "fit_images", "device": "cuda", "members": bench_images.MANY, "updates": bench_images.UPDATES}
    result, reply = ask("images", worker, request, execute, 900)
    if result["status"] == "passed":
        learnt = [accuracy for accuracy in reply["iid_accuracy"] if accuracy >= LEARNT]
        result["measured"] = {"members": bench_images.MANY, "learnt": len(learnt), **bench_images.row_of_many(reply)}
        if len(learnt) < bench_images.MANY:
            result["status"], result["output"] = "failed", json.dumps(result["measured"])
    return result


def variants(runner, execute=run):
    """The variants of the resident kernel: all to the bits of the kernel itself."""
    if not pathlib.Path(runner).exists():
        return unavailable("variants", f"{runner} is not built")
    result, output = step("variants", [runner], execute, 900)
    measured = first_object(output)
    compared = [row for row in (measured or {}).get("variants", []) if "same_bits" in row]
    if len(compared) < 2 or not all(row["same_bits"] and row["changed"] for row in compared):
        result["status"] = "failed"
        result.setdefault("output", last_lines(output))
    result["measured"] = measured
    return result


def on_gpu(request):
    requests = request if isinstance(request, tuple) else (request,)
    return tuple({**one, "device": "cuda"} for one in requests)


def profile(worker, report, execute=run):
    """ncu's full reports of the kernels that train; their text goes to `report`, a path, as far as there is any."""
    program = shutil.which("ncu")
    if program is None:
        return unavailable("profile", "ncu is not on PATH")
    if not pathlib.Path(worker).exists():
        return unavailable("profile", f"{worker} is not built")
    begin, text, profiled, results = time.monotonic(), "", [], []
    for name, request, names, passed_by, count in PROFILED:
        # The clocks as they are: other steps ran at them, and a user may not be allowed to lock them.
        chosen = ["--kernel-name", f"regex:^({names})$", "--launch-skip", str(passed_by), "--launch-count", str(count)]
        ncu = [program, "--set", "full", "--clock-control", "none", *chosen, "--page", "details", worker]
        result, output = step("profile", asking("profile", on_gpu(request), *ncu), execute, 900)
        if refused := CANNOT_PROFILE.search(output):
            return unavailable("profile", refused.group(0).strip())
        if result["status"] == "passed" and re.search(rf"\b({names})\b", output):
            text += f"# {name}\n{output}\n"
            profiled.append(name)
            pathlib.Path(report).write_text(text)
        else:
            result["status"], result["output"] = "failed", f"{name}: {last_lines(output)}"
        results.append(result)
    failed = [result for result in results if result["status"] != "passed"]
    done = {**(failed or results)[0], "seconds": round(time.monotonic() - begin, 1), "profiled": profiled}
    return {**done, "report": pathlib.Path(report).name} if profiled else done


def benchmark(program, folder, kept, quick=False, execute=run):
    """kept: the path where the benchmark keeps what it has measured, whatever ends it."""
    if not pathlib.Path(program).exists():
        return unavailable("benchmark", f"{program} is not there")
    command = [program, "--json", "cuda", "--build-dir", folder, "--save", kept] + (["--quick"] if quick else [])
    result, output = step("benchmark", command, execute, 7200)
    if result["exit_code"] == 2:  # something to install
        return unavailable("benchmark", last_lines(output, 1))
    if result["status"] == "passed":
        result["measured"] = first_object(output)
        if result["measured"] is None:
            result["status"], result["output"] = "failed", last_lines(output)
    return result
