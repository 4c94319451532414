"""stars_and_moons' network, trained by Occam and by rivals in turns on the same cores and the same images; on a GPU by
Occam also many members at once."""

import os
import statistics

from .contestant import ContestantError
from .measure import median_ratio

UPDATES, QUICK_UPDATES = 200, 20
TARGET = 5  # times as fast as PyTorch on a CPU
MANY, TARGET_SECONDS = 100, 15  # members at once, and their UPDATES updates on an H200
SETS = ("train", "iid", "uniform")
TIMEOUT = 3600  # seconds of one training


def accuracies(reply):
    """Means over the members of a reply."""
    return {f"{name}_accuracy": statistics.fmean(reply[f"{name}_accuracy"]) for name in SETS}


def measure(device, settings, contention, log, start_occam, start_rival, rivals, folder):
    """Rows: Occam's, then one a rival. start_occam() and start_rival(rival) start a contestant on one core."""
    updates = QUICK_UPDATES if settings.quick else UPDATES
    path = os.path.join(folder, "images.npz")
    log(f"images of shapes: 40000-1024-1024-2, {updates} updates")
    occam, running, rows = start_occam(), [], []

    def failed(named, error):
        rows.append({**named, "status": f"failed: {error}"})

    def train(contestant, operation, **fields):
        reply = contestant.ask(operation, timeout=TIMEOUT, updates=updates, **fields)
        if device == "cpu":
            contention.of(reply)
            return settings.seconds(reply), reply
        return reply["seconds"], reply

    try:
        occam.ask("export_images", path=path)
        for rival in rivals:
            named = {"name": rival.style.name, "version": rival.version}
            if not rival.python:
                rows.append({**named, "status": rival.status})
                continue
            try:
                contestant = start_rival(rival)
            except ContestantError as error:
                failed(named, error)
                continue
            running.append((named, contestant, [], []))
            try:
                contestant.ask("open", timeout=TIMEOUT, path=path, device=device)
            except ContestantError as error:
                failed(named, error)
                running.pop()[1].close()
        ours, reply = [], {}
        for _ in range(1 if device == "cpu" else settings.repeats):  # on a CPU a rival takes minutes
            seconds, reply = train(occam, "fit_images", device=device)
            ours.append(seconds)
            for entrant in list(running):
                named, contestant, theirs, replies = entrant
                try:
                    seconds, answer = train(contestant, "fit")
                except ContestantError as error:
                    failed(named, error)
                    running.remove(entrant)
                    contestant.close()
                    continue
                theirs.append(seconds)
                replies.append(answer)
        first = {
            "name": "Occam",
            "status": "measured",
            "members": 1,
            "updates": updates,
            "seconds": statistics.median(ours),
            **accuracies(reply),
            "samples": ours,
        }
        for named, _, theirs, replies in running:
            rows.append(
                {
                    **named,
                    "status": "measured",
                    "members": 1,
                    "updates": updates,
                    "seconds": statistics.median(theirs),
                    "ratio": median_ratio(theirs, ours),
                    "target": TARGET if device == "cpu" else None,
                    **{f"{name}_accuracy": replies[-1][f"{name}_accuracy"] for name in SETS},
                    "samples": theirs,
                }
            )
        return [first, *rows]
    finally:
        occam.close()
        for _, contestant, _, _ in running:
            contestant.close()


def measure_many(settings, log, start_occam):
    """The row of MANY members that a GPU trains at once, alone on it, one turn."""
    updates = QUICK_UPDATES if settings.quick else UPDATES
    log(f"images of shapes: {MANY} members, {updates} updates")
    row = {"name": "Occam", "members": MANY}
    try:
        with start_occam() as occam:
            reply = occam.ask("fit_images", timeout=TIMEOUT, device="cuda", members=MANY, updates=updates)
    except ContestantError as error:
        return {**row, "status": f"failed: {error}"}
    return {**row, **row_of_many(reply)}


def row_of_many(reply):
    """What a reply to fit_images says. The target is of UPDATES updates."""
    return {
        "status": "measured",
        "updates": reply["updates"],
        "seconds": reply["seconds"],
        "target_seconds": TARGET_SECONDS if reply["updates"] == UPDATES else None,
        **accuracies(reply),
        "samples": [reply["seconds"]],
    }


def lines(rows, where=""):
    """The table. where: said of the turns."""
    text = [f"Images of shapes: 40000-1024-1024-2, Adam, batches of 100, in turns{where}"]
    for row in rows:
        name = " ".join(filter(None, (row["name"], row.get("version", ""))))
        if row.get("members", 1) > 1:
            name += f", {row['members']} members at once"
        if row["status"] != "measured":
            text.append(f"  {name}: {row['status']}")
            continue
        said = f", Occam is {row['ratio']:.1f}x as fast" if "ratio" in row else ""
        if row.get("target"):
            said += f" (target {row['target']}x{' met' if row['ratio'] >= row['target'] else ' missed'})"
        if row.get("target_seconds"):
            met = row["seconds"] <= row["target_seconds"]
            said += f" (target {row['target_seconds']} s{' met' if met else ' missed'})"
        text.append(
            f"  {name}: {row['updates']} updates in {row['seconds']:.1f} s{said}; accuracy train "
            f"{row['train_accuracy']:.3f}, i.i.d. {row['iid_accuracy']:.3f}, uniform {row['uniform_accuracy']:.3f}"
        )
    return text
