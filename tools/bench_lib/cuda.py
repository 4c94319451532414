"""The CUDA benchmark: ceilings, resident ensembles beside rivals that train as many members in one call,
whole trainings, and rivals that train one network.

Every time is of a call that returns when the device is done. Contestants hold the device's memory together,
so two are there at a time: Occam and one rival.
"""

import os
import statistics

from . import attacks, ensembles, frameworks, images
from .contestant import Contestant, ContestantError
from .cpu import NETS
from .ensembles import BATCH, PRECISIONS
from .measure import Contention, rates, take_turns

MEMBERS = (1, 16, 132, 1024)
WIDE = (2000,)  # in fp32 alone, beside cuBLAS
QUICK_NETS = (NETS[0], (300, 300), WIDE)


class CudaBench:
    """worker: command of Occam's side. Its first answer is the device error (exit code 4) without a
    device. save: takes the result after every measurement."""

    def __init__(self, worker, pythons, settings, folder, log, save=lambda result: None):
        self.worker, self.pythons, self.settings, self.folder, self.log = (
            worker,
            pythons,
            settings,
            folder,
            log,
        )
        self.save = save
        self.settings.clock = "wall"  # the CPU only waits
        self.members = settings.members or (MEMBERS[2:3] if settings.quick else MEMBERS)

    def run(self):
        with self.occam() as worker:
            occam = worker.ask("info", device="cuda")
            self.log("ceilings")
            ceilings = worker.ask("ceilings")
            peak = self.sgemm(worker)
            self.data = os.path.join(self.folder, "lms5.npz")
            worker.ask("export", set="lms5", train=self.settings.train_rows, path=self.data)
        result = {"occam": occam, "ceilings": ceilings, **peak, "contention": 0.0}
        self.save(result)
        if "training" in self.settings.parts:
            self.ensembles(result)
            with self.occam() as worker:
                result["throughput"] = self.throughput(worker)
            result["rivals"] = self.rivals(result["ensembles"])
            self.save(result)
        if "attacks" in self.settings.parts:
            self.attacks(result)
        if "images" in self.settings.parts:
            result["images"] = images.measure(
                "cuda",
                self.settings,
                Contention(),
                self.log,
                self.occam,
                self.start,
                frameworks.find_rivals(self.pythons, "cuda", frameworks.IMAGE_STYLES),
                self.folder,
            )
            result["images"].append(images.measure_many(self.settings, self.log, self.occam))
        return result

    def occam(self):
        return Contestant("Occam", self.worker)

    def start(self, rival):
        environment = {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # else JAX takes most of the memory at once
            "TORCHINDUCTOR_CACHE_DIR": os.path.join(self.folder, "inductor"),
        }
        return Contestant(rival.name, rival.command(), environment)

    def sgemm(self, worker):
        """cuBLAS's rate and version; where it cannot be loaded, why, and everything else is measured without it."""
        try:
            version = worker.ask("cublas")["version"]
            return {
                "sgemm_gflops": worker.ask("cuda_sgemm")["gflops"],
                "cublas": version,
                "sgemm_status": "measured",
            }
        except ContestantError as error:
            self.log(str(error))
            return {"sgemm_gflops": None, "cublas": None, "sgemm_status": f"failed: {error}"}

    def ensembles(self, result):
        """The first net, which rivals train, too, comes last: they compile for minutes. The others are Occam's shares of
        the floor and of cuBLAS."""
        found = frameworks.find_rivals(self.pythons, "cuda", frameworks.ENSEMBLE_STYLES)
        measuring = ensembles.Ensembles(
            "cuda",
            self.settings,
            Contention(),
            self.log,
            self.occam,
            self.start,
            result["ceilings"],
            result["sgemm_gflops"],
        )
        ours, theirs = result["ensembles"], result["ensemble_rivals"] = [], []
        nets = QUICK_NETS if self.settings.quick else (*NETS, WIDE)
        for hidden in (*nets[1:], nets[0]):
            for members in self.members:
                for precision in self.settings.precisions or PRECISIONS:
                    if hidden == WIDE and precision != "fp32":
                        continue
                    beside = found if hidden == NETS[0] else []
                    own, rows = measuring.measure(hidden, members, precision, self.data, beside)
                    ours.append(own)
                    theirs += rows
                    ensembles.compare_with_best(ours, theirs)
                    self.save(result)

    def attacks(self, result):
        """The floor is the FLOP at the measured rate of the FP32 units."""
        measuring = attacks.Attacks(
            "cuda",
            self.settings,
            Contention(),
            self.log,
            lambda threads: self.occam(),
            self.start,
            self.folder,
            lambda contestant: result["ceilings"]["ffma_gflops"],
        )
        found = frameworks.find_rivals(self.pythons, "cuda", frameworks.ATTACK_STYLES)
        ours, theirs = result["attacks"], result["attack_rivals"] = [], []
        for members in self.members:
            own, rows = measuring.measure(members, [1], found)
            ours += own
            theirs += rows
            self.save(result)

    def throughput(self, worker):
        """Whole LMS-5 trainings a second, data and checks included."""
        members = max(self.members)
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

    def rivals(self, ours):
        """One network at a time, beside Occam's fastest fp32 ensemble of the same network."""
        rows = []
        able = [
            row["updates_per_second"]
            for row in ours
            if (row["net"], row["precision"], row["status"]) == (NETS[0], "fp32", "measured")
        ]
        for rival in frameworks.find_rivals(self.pythons, "cuda"):
            row = {"name": rival.style.name, "version": rival.version, "net": NETS[0], "status": rival.status}
            rows.append(row)
            if not rival.python:
                continue
            if not able:
                row["status"] = "no ensemble of Occam's to compare with"
                continue
            self.log(f"{rival.name} on cuda")
            try:
                with self.start(rival) as contestant:
                    opened = contestant.ask(
                        "open", path=self.data, hidden=NETS[0], batch=BATCH, device="cuda"
                    )
                    turns = take_turns([contestant], self.settings, Contention())[0]
            except ContestantError as error:
                row["status"] = f"failed: {error}"
                continue
            rate = statistics.median(rates(turns))
            row.update(
                status="measured",
                variant=opened["variant"],
                updates_per_second=rate,
                occam_updates_per_second=max(able),
                ratio=max(able) / rate,
                samples={"rival": rates(turns)},
            )
        return rows
