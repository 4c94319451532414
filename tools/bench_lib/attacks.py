"""Attacks: notebook 6's evaluation of trained networks, Occam and rivals in turns, on the same networks and
rows.

A turn of Occam's is every part by itself and then all of them in one call. Each call makes its rows and looks
for their range first, as it does for a user; what that takes is timed by itself too, as rivals hold their
rows.
"""

import os
import statistics

from .contestant import ContestantError
from .measure import median_ratio

NETWORK = {"hidden": (200,), "weight_decay": 5e-4, "max_updates": 2001}
ATTACKS = ("pgd", "svd", "as")
PARTS = (*ATTACKS, "all")
TARGETS = {1: 0.9, 2: 0.5}  # seconds of all attacks of one member on a CPU, by threads
ALONE = ("batches", "torchattacks")  # styles that attack one network at a time
OPEN_SECONDS = 1800  # the most that training, or trying batches, may take


class Entrant:
    """A contestant with what it was asked and what its rounds gave."""

    def __init__(self, contestant, parts, members, threads=1):
        self.contestant, self.parts, self.members, self.threads = contestant, parts, members, threads
        self.seconds = {part: [] for part in parts}
        self.peaks, self.measured, self.failure = [], {}, ""

    def ask(self, part):
        return self.contestant.ask("attack", timeout=OPEN_SECONDS, part=part, threads=self.threads)

    def take_turn(self, seconds_of):
        self.ask(self.parts[0])  # what the others left in caches and memory would be counted as this part's
        for part in self.parts:
            reply = self.ask(part)
            self.seconds[part].append(seconds_of(reply, self.threads))
            self.measured.update({name: reply[name] for name in ATTACKS if name in reply and name == part})

    def of(self, part):
        """Seconds of each round, of all members."""
        return self.seconds[part]

    def alone(self, part):
        """The same without what a call does before it attacks."""
        return [max(1e-9, whole - opening) for whole, opening in zip(self.of(part), self.of("open"))]

    def outcome(self, part):
        """Mean accuracy on the perturbed rows and mean share on the simplest coordinate."""
        return {name: statistics.fmean(values) for name, values in self.measured.get(part, {}).items()}


class Attacks:
    """start_occam(threads) and start_rival(rival) start a contestant. peak(contestant): GFLOP/s that count as
    100%, of one thread on a CPU, of the device else."""

    def __init__(self, device, settings, contention, log, start_occam, start_rival, folder, peak):
        self.device, self.settings, self.contention, self.log = device, settings, contention, log
        self.start_occam, self.start_rival, self.peak = start_occam, start_rival, peak
        self.path = os.path.join(folder, "attacked.npz")

    def measure(self, members, threads, rivals):
        """(Occam's rows, the rivals' rows). threads: of Occam, for each its own process; rivals are compared
        with the first."""
        self.log(f"attacks of {members} network{'s' if members > 1 else ''}")
        running, rows = [], []
        try:
            try:
                flop = self.open_occam(running, members, threads)
            except ContestantError as error:
                if error.exit_code == 4:
                    raise
                failed = {"members": members, "threads": threads[0], "part": "all"}
                rows = [
                    self.named(rival, members, "all", "no network of Occam's to attack") for rival in rivals
                ]
                return [{**failed, "status": f"failed: {error}"}], rows
            ours = list(running)
            theirs = [(rival, *self.open_rival(running, rival, members)) for rival in rivals]
            for _ in range(self.settings.rounds if self.device == "cpu" else self.settings.repeats):
                for entrant in running:
                    self.turn(entrant, entrant in ours)
            return (
                [row for entrant in ours for row in self.own_rows(entrant, flop)],
                [row for of_rival in theirs for row in self.rival_rows(*of_rival, ours[0], members)],
            )
        finally:
            for entrant in running:
                entrant.contestant.close()

    # ---- contestants ---------------------------------------------------------------------------------------
    def open_occam(self, running, members, threads):
        """FLOP of each part for one member."""
        for count in threads:
            worker = self.start_occam(count)
            running.append(Entrant(worker, ("open", *PARTS), members, count))
            opened = worker.ask(
                "attack_open",
                timeout=OPEN_SECONDS,
                device=self.device,
                members=members,
                train=self.settings.train_rows,
                test=self.settings.attacked_rows,
                path=self.path,
                **NETWORK,
            )
        return opened["flop"]

    def open_rival(self, running, rival, members):
        """(entrant or None, status, what the rival's open answered)"""
        if not rival.python:
            return None, rival.status, {}
        of_rival = 1 if rival.style.argument in ALONE else members
        contestant = None
        try:
            contestant = self.start_rival(rival)
            opened = contestant.ask(
                "open", timeout=OPEN_SECONDS, path=self.path, device=self.device, members=of_rival
            )
        except ContestantError as error:
            if contestant:
                contestant.close()
            return None, f"failed: {error}", {}
        running.append(Entrant(contestant, tuple(opened["parts"]), of_rival))
        return running[-1], "measured", opened

    def turn(self, entrant, is_occam):
        """A rival that fails is out; Occam's failure is the bench's."""
        if entrant.failure:
            return
        try:
            if is_occam:
                entrant.peaks.append(self.peak(entrant.contestant))
            entrant.take_turn(self.seconds)
        except ContestantError as error:
            if is_occam:
                raise
            entrant.failure = f"failed: {error}"

    def seconds(self, reply, threads):
        # CPU time of several threads adds up: only the wall knows how long they took together.
        if threads > 1 or self.device == "cuda":
            return reply["seconds"]
        self.contention.of(reply)
        return self.settings.seconds(reply)

    # ---- rows ----------------------------------------------------------------------------------------------
    def own_rows(self, occam, flop):
        rows = []
        peaks = [peak * occam.threads for peak in occam.peaks]
        for part in PARTS:
            of_all = flop[part] * occam.members * 1e-9
            whole, alone = ([of_all / s for s in seconds] for seconds in (occam.of(part), occam.alone(part)))
            target = TARGETS.get(occam.threads) if (self.device, part) == ("cpu", "all") else None
            rows.append(
                {
                    "members": occam.members,
                    "threads": occam.threads,
                    "part": part,
                    "status": "measured",
                    "flop": flop[part],
                    "seconds": statistics.median(occam.of(part)),
                    "open_seconds": statistics.median(occam.of("open")),
                    "members_per_second": occam.members / statistics.median(occam.of(part)),
                    "gflops": statistics.median(whole),
                    "peak_gflops": statistics.median(peaks),
                    "share_of_peak": median_ratio(whole, peaks),
                    "share_of_peak_without_opening": median_ratio(alone, peaks),
                    "target_seconds": target,
                    **occam.outcome(part),
                    "samples": {"seconds": occam.of(part), "peak_gflops": occam.peaks},
                }
            )
        return rows

    def named(self, rival, members, part, status):
        version = rival.version
        return {
            "name": rival.style.name,
            "version": version,
            "members": members,
            "part": part,
            "status": status,
        }

    def rival_rows(self, rival, entrant, status, opened, occam, members):
        if not entrant or entrant.failure:
            return [self.named(rival, members, "all", entrant.failure if entrant else status)]
        seconds = {part: entrant.of(part) for part in entrant.parts}
        if set(ATTACKS) <= set(seconds):
            seconds["all"] = [sum(of_round) for of_round in zip(*(seconds[part] for part in ATTACKS))]
        rows = []
        for part, theirs in seconds.items():
            each = [s / entrant.members for s in theirs]
            ours, alone = ([s / members for s in of] for of in (occam.of(part), occam.alone(part)))
            rows.append(
                {
                    **self.named(rival, members, part, status),
                    "members_at_a_time": entrant.members,
                    "variant": opened["variant"],
                    "tried": opened["tried"],
                    "variants_failed": opened["failed"],
                    "seconds_per_member": statistics.median(each),
                    "occam_seconds_per_member": statistics.median(ours),
                    "ratio": median_ratio(each, ours),
                    "ratio_without_opening": median_ratio(each, alone),
                    **entrant.outcome(part),
                    "samples": {"occam": ours, "rival": each},
                }
            )
        return rows
