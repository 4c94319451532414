"""stars_and_moons' network, trained by Occam and by rivals in turns on the same cores and the same images."""

import os
import statistics

from .contestant import ContestantError
from .measure import median_ratio

UPDATES, QUICK_UPDATES = 200, 20
TARGET = 5  # times as fast as PyTorch on a CPU
TIMEOUT = 3600  # seconds of one training


def measure(device, settings, contention, log, start_occam, start_rival, rivals, folder):
    """Rows: Occam's, then one a rival. start_occam() and start_rival(rival) start a contestant on one core."""
    updates = QUICK_UPDATES if settings.quick else UPDATES
    path = os.path.join(folder, "images.npz")
    log(f"images of shapes: 40000-1024-1024-2, {updates} updates")
    occam, running, rows = start_occam(), [], []

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
                running.append((named, contestant, [], []))
                contestant.ask("open", timeout=TIMEOUT, path=path, device=device)
            except ContestantError as error:
                rows.append({**named, "status": f"failed: {error}"})
                running.pop()
        ours, reply = [], {}
        for _ in range(1 if device == "cpu" else settings.repeats):  # on a CPU a rival takes minutes
            seconds, reply = train(occam, "fit_images", device=device)
            ours.append(seconds)
            for named, contestant, theirs, replies in running:
                seconds, answer = train(contestant, "fit")
                theirs.append(seconds)
                replies.append(answer)
        first = {
            "name": "Occam",
            "status": "measured",
            "updates": updates,
            "seconds": statistics.median(ours),
            **{f"{name}_accuracy": reply[f"{name}_accuracy"][0] for name in ("train", "iid", "uniform")},
            "samples": ours,
        }
        for named, _, theirs, replies in running:
            accuracies = {f"{name}_accuracy": replies[-1][f"{name}_accuracy"] for name in ("train", "iid", "uniform")}
            rows.append(
                {
                    **named,
                    "status": "measured",
                    "updates": updates,
                    "seconds": statistics.median(theirs),
                    "ratio": median_ratio(theirs, ours),
                    "target": TARGET if device == "cpu" else None,
                    **accuracies,
                    "samples": theirs,
                }
            )
        return [first, *rows]
    finally:
        occam.close()
        for _, contestant, _, _ in running:
            contestant.close()


def lines(rows):
    """The table."""
    text = ["Images of shapes: 40000-1024-1024-2, Adam, batches of 100, in turns on one core"]
    for row in rows:
        name = " ".join(filter(None, (row["name"], row.get("version", ""))))
        if row["status"] != "measured":
            text.append(f"  {name}: {row['status']}")
            continue
        ratio = f", Occam is {row['ratio']:.1f}x as fast" if "ratio" in row else ""
        if row.get("target"):
            ratio += f" (target {row['target']}x{' met' if row['ratio'] >= row['target'] else ' missed'})"
        text.append(
            f"  {name}: {row['updates']} updates in {row['seconds']:.1f} s{ratio}; accuracy train "
            f"{row['train_accuracy']:.3f}, i.i.d. {row['iid_accuracy']:.3f}, uniform {row['uniform_accuracy']:.3f}"
        )
    return text
