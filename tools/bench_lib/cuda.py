"""The CUDA benchmark: ensembles through the public API (fit on Device cuda), and rivals on the same device.

Every time is of a call that returns when the device is done. The rate of updates comes from two trainings that
differ in their number of updates alone, so that data generation, transfers and the last check cancel.
"""

import os
import statistics

from . import frameworks
from .contestant import Contestant, ContestantError
from .cpu import BATCH, INPUTS, NETS, OUTPUTS
from .measure import Contention, flop_per_update, rates, take_turns

MEMBERS = (1, 128, 1024)


class CudaBench:
    """worker: command of Occam's side. Its first answer is the device error (exit code 4) without a device."""

    def __init__(self, worker, pythons, settings, folder, log):
        self.worker, self.pythons, self.settings, self.folder, self.log = (
            worker,
            pythons,
            settings,
            folder,
            log,
        )
        self.settings.clock = "wall"  # the CPU only waits
        self.updates_per_epoch = -(-settings.train_rows // BATCH)

    def run(self):
        with Contestant("Occam", self.worker) as worker:
            occam = worker.ask("info", device="cuda")
            peak = worker.ask("cuda_sgemm")["gflops"]
            ensembles = [
                self.ensemble(worker, hidden, members, peak)
                for hidden in (NETS[:1] if self.settings.quick else NETS)
                for members in (MEMBERS[1:2] if self.settings.quick else MEMBERS)
            ]
            throughput = self.throughput(worker)
            data = os.path.join(self.folder, "lms5.npz")
            worker.ask("export", set="lms5", train=self.settings.train_rows, path=data)
        return {
            "occam": occam,
            "sgemm_gflops": peak,
            "ensembles": ensembles,
            "throughput": throughput,
            "rivals": self.rivals(data, ensembles),
            "contention": 0.0,
        }

    def ensemble(self, worker, hidden, members, peak):
        """Updates a second of all members together."""
        self.log(f"{members} members of {'x'.join(map(str, hidden))}")

        def seconds(updates):
            return worker.ask(
                "fit",
                device="cuda",
                hidden=hidden,
                members=members,
                max_updates=updates,
                train=self.settings.train_rows,
            )["seconds"]

        short = self.updates_per_epoch
        seconds(short)  # the first run pays for the context and for loading kernels
        extra = short
        while (difference := seconds(short + extra) - seconds(short)) < self.settings.stretch_seconds:
            extra *= 4
            if extra > 1_000_000:
                raise ContestantError(
                    f"Occam: {extra} further updates took {difference:.3f} s: nothing to measure"
                )
        samples = [
            members * extra / (seconds(short + extra) - seconds(short)) for _ in range(self.settings.repeats)
        ]
        rate = statistics.median(samples)
        flop = flop_per_update(INPUTS, hidden, OUTPUTS, self.settings.train_rows, BATCH)
        return {
            "net": hidden,
            "members": members,
            "updates_per_second": rate,
            "gflops": rate * flop * 1e-9,
            "share_of_sgemm": rate * flop * 1e-9 / peak,
            "samples": samples,
        }

    def throughput(self, worker):
        """Whole LMS-5 trainings a second, data and checks included."""
        members = MEMBERS[1] if self.settings.quick else MEMBERS[-1]
        self.log(f"{members} whole LMS-5 trainings")
        replies = [
            worker.ask("fit", device="cuda", members=members, train=self.settings.train_rows)
            for _ in range(self.settings.repeats)
        ]
        seconds = [reply["seconds"] for reply in replies]
        return [
            {
                "members": members,
                "updates": replies[-1]["updates"],
                "seconds": seconds,
                "members_per_second": members / statistics.median(seconds),
            }
        ]

    def rivals(self, data, ensembles):
        """One network at a time, beside Occam's largest ensemble of the same network."""
        rows = []
        occam_rate = max(row["updates_per_second"] for row in ensembles if row["net"] == NETS[0])
        for rival in frameworks.find_rivals(self.pythons, "cuda"):
            row = {"name": rival.style.name, "version": rival.version, "net": NETS[0], "status": rival.status}
            rows.append(row)
            if not rival.python:
                continue
            self.log(f"{rival.name} on cuda")
            try:
                with Contestant(rival.name, rival.command()) as contestant:
                    opened = contestant.ask("open", path=data, hidden=NETS[0], batch=BATCH, device="cuda")
                    turns = take_turns([contestant], self.settings, Contention())[0]
            except ContestantError as error:
                row["status"] = f"failed: {error}"
                continue
            rate = statistics.median(rates(turns))
            row.update(
                status="measured",
                variant=opened["variant"],
                updates_per_second=rate,
                occam_updates_per_second=occam_rate,
                ratio=occam_rate / rate,
                samples={"rival": rates(turns)},
            )
        return rows
