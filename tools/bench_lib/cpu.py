"""The CPU benchmark: share of the matrix-product peak while training, throughput, memory and the rivals."""

import os
import statistics

from . import attacks, ensembles, frameworks, images
from .contestant import ONE_THREAD, Contestant, ContestantError
from .ensembles import BATCH, INPUTS, OUTPUTS
from .measure import Contention, flop_per_update, median_ratio, rates, take_turns

NETS = ((100, 100), (300, 300), (200,), (100,))
SHARES = (*((hidden, 0.0) for hidden in NETS), ((300, 300), 0.9))  # hidden layers, momentum; the last: notebook 3's
BLAS_CORES = {"avx2": ("Haswell", "Zen"), "avx512": ("Haswell", "Zen", "SkylakeX", "Cooperlake")}
STOP = {"check_every": 5000, "epsilon": 1e-4, "max_updates": 100_000}
ENSEMBLE_MEMBERS = (1, 16)
WHOLE = (("LMS-5", "lms5", 1), ("MS-(5,7)", "ms57", 1000))  # name, set, patience


class CpuBench:
    """worker: command of Occam's side. folder: for the exported data. log: takes a line for the user. save: takes the
    result after every measurement."""

    def __init__(self, worker, pythons, settings, folder, log, save=lambda result: None):
        self.worker, self.pythons, self.settings, self.folder, self.log = (
            worker,
            pythons,
            settings,
            folder,
            log,
        )
        self.save = save
        self.contention = Contention()
        self.threads = len(os.sched_getaffinity(0))
        self.blas = {}  # instruction set -> OPENBLAS_CORETYPE, "" for OpenBLAS's own choice

    def run(self):
        with self.occam() as worker:
            occam = worker.ask("info")
            self.fma = worker.ask("fma")
        self.sets = ["avx2", "avx512"] if occam["has_avx512"] else ["avx2"]
        self.isa = self.sets[-1]
        result = {"occam": occam, "sgemm": self.choose_blas(), "fma_gflops": self.fma}
        if "training" in self.settings.parts:
            result["shares"], result["resident"] = self.shares()
            self.keep(result)
            result["throughput"] = self.throughput()
            result["rivals"] = self.rivals()
            self.keep(result)
            result["whole"] = self.whole()
            self.keep(result)
            result["ensembles"], result["ensemble_rivals"] = self.ensembles()
            self.keep(result)
        if "attacks" in self.settings.parts:
            result["attacks"], result["attack_rivals"] = self.attacks()
            self.keep(result)
        if "images" in self.settings.parts:
            result["images"] = images.measure(
                "cpu",
                self.settings,
                self.contention,
                self.log,
                lambda: self.occam(self.isa),
                self.start,
                frameworks.find_rivals(self.pythons, "cpu", frameworks.IMAGE_STYLES),
                self.folder,
            )
        self.keep(result)
        return result

    def keep(self, result):
        result["contention"] = self.contention.median()
        self.save(result)

    def occam(self, isa="", blas="", threads=1):
        environment = {**ONE_THREAD, "OCCAM_CPU_ISA": isa, "OPENBLAS_CORETYPE": blas}
        cores = {self.settings.core} if threads == 1 else None
        return Contestant(f"Occam {isa}".strip(), self.worker, environment, cores)

    # ---- peak ----------------------------------------------------------------------------------------------
    def choose_blas(self):
        """OpenBLAS may not know a new processor and take slow kernels: tries all that run here."""
        self.log("looking for OpenBLAS's fastest kernels")
        tried, workers = [], []
        try:
            for wanted in dict.fromkeys(("", *(core for isa in self.sets for core in BLAS_CORES[isa]))):
                worker = self.occam(blas=wanted)
                workers.append(worker)
                core = worker.ask("info")["openblas_core"]
                if not wanted or core == wanted:  # else this OpenBLAS has no such kernels, and fell back
                    tried.append({"coretype": wanted, "core": core, "gflops": 0.0, "worker": worker})
            for _ in range(3):
                for entry in tried:
                    reply = entry["worker"].ask("sgemm", calls=4)
                    entry["gflops"] = max(entry["gflops"], *self.gflops(reply))
        finally:
            for worker in workers:
                worker.close()
        for entry in tried:
            del entry["worker"]
        chosen = {}
        for isa in self.sets:
            able = [entry for entry in tried if isa == self.isa or entry["core"] in BLAS_CORES[isa]]
            chosen[isa] = max(able, key=lambda entry: entry["gflops"])
            self.blas[isa] = chosen[isa]["coretype"]
        return {"tried": tried, "chosen": chosen}

    def gflops(self, reply):
        return reply["gflops" if self.settings.clock == "wall" else "cpu_gflops"]

    # ---- Occam alone ---------------------------------------------------------------------------------------
    def peak(self, worker):
        """The best of a few sgemm calls; the FMA limit is the most that was ever seen."""
        for isa, rate in worker.ask("fma").items():
            if rate:
                self.fma[isa] = max(self.fma[isa], rate)
        return max(self.gflops(worker.ask("sgemm", calls=5)))

    def shares(self):
        rows = []
        resident = {}
        workers = [self.occam(isa, self.blas[isa]) for isa in self.sets]
        try:
            for hidden, momentum in SHARES:
                self.log(f"share of peak, {'x'.join(map(str, hidden))}, momentum {momentum:g}")
                opened = [
                    worker.ask("open", hidden=hidden, momentum=momentum, train=self.settings.train_rows)
                    for worker in workers
                ]
                if hidden == NETS[0]:
                    resident = {
                        "open_seconds": self.settings.seconds(opened[-1]),
                        "rows": self.settings.train_rows,
                        "bytes": opened[-1]["resident_bytes"],
                    }
                turns = take_turns(workers, self.settings, self.contention, self.peak)
                flop = flop_per_update(INPUTS, hidden, OUTPUTS, self.settings.train_rows, BATCH)
                for isa, of_worker in zip(self.sets, turns):
                    reached = [rate * flop * 1e-9 for rate in rates(of_worker)]
                    peaks = [peak for _, peak in of_worker]
                    rows.append(
                        {
                            "net": hidden,
                            "momentum": momentum,
                            "instruction_set": isa,
                            "flop_per_update": flop,
                            "updates_per_second": statistics.median(rates(of_worker)),
                            "gflops": statistics.median(reached),
                            "sgemm_gflops": statistics.median(peaks),
                            "share_of_sgemm": median_ratio(reached, peaks),
                            "samples": {"gflops": reached, "sgemm_gflops": peaks},
                        }
                    )
        finally:
            for worker in workers:
                worker.close()
        for row in rows:
            row["share_of_fma"] = row["gflops"] / self.fma[row["instruction_set"]]
        return rows, resident

    def throughput(self):
        """Whole LMS-5 trainings a second, data and checks included: one on one core, two a core on all."""
        rows = []
        for threads in sorted({1, self.threads}):
            members = 1 if threads == 1 else 2 * threads
            self.log(f"whole LMS-5 trainings, {threads} thread{'s' if threads > 1 else ''}")
            with self.occam(self.isa, threads=threads) as worker:
                replies = [
                    worker.ask("fit", train=self.settings.train_rows, members=members, threads=threads)
                    for _ in range(self.settings.repeats)
                ]
            # CPU time of several threads adds up: only the wall knows how long they took together.
            seconds = [reply["seconds"] if threads > 1 else self.settings.seconds(reply) for reply in replies]
            rows.append(
                {
                    "threads": threads,
                    "members": members,
                    "updates": replies[-1]["updates"],
                    "members_per_second": members / statistics.median(seconds),
                    "parameter_bytes": replies[-1]["parameter_bytes"],
                    "seconds": seconds,
                }
            )
        return rows

    # ---- rivals --------------------------------------------------------------------------------------------
    def data(self, name):
        """The path of a set's rows as Occam generates them."""
        path = os.path.join(self.folder, f"{name}.npz")
        if not os.path.exists(path):
            with self.occam() as worker:
                worker.ask("export", set=name, train=self.settings.train_rows, path=path)
        return path

    def start(self, rival):
        environment = {
            **ONE_THREAD,
            "OPENBLAS_CORETYPE": self.blas[self.isa],
            "TORCHINDUCTOR_CACHE_DIR": os.path.join(self.folder, "inductor"),
        }
        return Contestant(rival.name, rival.command(), environment, {self.settings.core})

    def rivals(self):
        self.found = frameworks.find_rivals(self.pythons, "cpu")
        rows = []
        for hidden in NETS[:1] if self.settings.quick else NETS[:2]:
            rows += self.against_rivals(hidden)
        return rows

    def against_rivals(self, hidden):
        contestants, rows = [], []
        try:
            occam = self.occam(self.isa)
            contestants.append(occam)
            occam.ask("open", hidden=hidden, train=self.settings.train_rows)
            running = []
            for rival in self.found:
                row = {
                    "name": rival.style.name,
                    "version": rival.version,
                    "net": hidden,
                    "status": rival.status,
                }
                rows.append(row)
                if not rival.python:
                    continue
                self.log(f"preparing {rival.name}, {'x'.join(map(str, hidden))}")
                try:
                    contestant = self.start(rival)
                    contestants.append(contestant)
                    row["variant"] = contestant.ask(
                        "open", path=self.data("lms5"), hidden=hidden, batch=BATCH
                    )["variant"]
                except ContestantError as error:
                    row["status"] = f"failed: {error}"
                    continue
                running.append((row, contestant))
            self.log(f"taking turns, {'x'.join(map(str, hidden))}")
            turns = take_turns(
                [occam] + [contestant for _, contestant in running], self.settings, self.contention
            )
            ours = rates(turns[0])
            for (row, _), of_rival in zip(running, turns[1:]):
                row.update(
                    status="measured",
                    updates_per_second=statistics.median(rates(of_rival)),
                    occam_updates_per_second=statistics.median(ours),
                    ratio=median_ratio(ours, rates(of_rival)),
                    samples={"occam": ours, "rival": rates(of_rival)},
                )
        finally:
            for contestant in contestants:
                contestant.close()
        return rows

    def whole(self):
        """Trainings to their stops, Occam and PyTorch in turns. MS-(5,7) takes long: not with --quick."""
        rows = []
        for name, data_set, patience in WHOLE:
            for rival in self.found:
                if rival.style.argument not in ("tuned", "loader"):
                    continue
                row = {
                    "name": rival.style.name,
                    "version": rival.version,
                    "set": name,
                    "status": rival.status,
                }
                rows.append(row)
                if (
                    rival.python
                    and self.settings.quick
                    and (data_set == "ms57" or rival.style.argument == "tuned")
                ):
                    row["status"] = "not run with --quick"
                elif rival.python:
                    self.log(f"{name} to its stop: Occam and {rival.name}")
                    try:
                        row.update(self.to_the_stop(rival, data_set, patience))
                    except ContestantError as error:
                        row["status"] = f"failed: {error}"
        return rows

    def to_the_stop(self, rival, data_set, patience):
        repeats = 1 if data_set == "ms57" or self.settings.quick else self.settings.repeats
        ours, theirs = [], []
        with self.occam(self.isa) as occam, self.start(rival) as contestant:
            contestant.ask("open", path=self.data(data_set), hidden=NETS[0], batch=BATCH)
            for _ in range(repeats):
                ours.append(occam.ask("fit", set=data_set, train=self.settings.train_rows, hidden=NETS[0]))
                theirs.append(contestant.ask("fit", patience=patience, **STOP))
        for reply in ours + theirs:
            self.contention.of(reply)
        ours_seconds, theirs_seconds = (
            [self.settings.seconds(reply) for reply in side] for side in (ours, theirs)
        )
        # Both stop by the same rule, but on their own random numbers: per update they can be compared.
        ours_each = [seconds / reply["updates"][0] for seconds, reply in zip(ours_seconds, ours)]
        theirs_each = [seconds / reply["updates"] for seconds, reply in zip(theirs_seconds, theirs)]
        return {
            "status": "measured",
            "occam_seconds": statistics.median(ours_seconds),
            "seconds": statistics.median(theirs_seconds),
            "ratio": median_ratio(theirs_each, ours_each),
            "occam_updates": [reply["updates"][0] for reply in ours],
            "updates": [r["updates"] for r in theirs],
            "occam_test_accuracy": [reply["test_accuracy"][0] for reply in ours],
            "test_accuracy": [reply["test_accuracy"] for reply in theirs],
            "samples": {"occam": ours_seconds, "rival": theirs_seconds},
        }

    # ---- ensembles -----------------------------------------------------------------------------------------
    def ensembles(self):
        """Many members in one call, on one core."""
        found = frameworks.find_rivals(self.pythons, "cpu", frameworks.ENSEMBLE_STYLES)
        measuring = ensembles.Ensembles(
            "cpu", self.settings, self.contention, self.log, lambda: self.occam(self.isa), self.start
        )
        ours, theirs = [], []
        for members in self.settings.members or ENSEMBLE_MEMBERS[: 1 if self.settings.quick else None]:
            own, rows = measuring.measure(NETS[0], members, "fp32", self.data("lms5"), found)
            ours.append(own)
            theirs += rows
        ensembles.compare_with_best(ours, theirs)
        return ours, theirs

    # ---- attacks -------------------------------------------------------------------------------------------
    def attacks(self):
        """Of one network, on one core and on all; rivals on one."""
        measuring = attacks.Attacks(
            "cpu",
            self.settings,
            self.contention,
            self.log,
            lambda threads: self.occam(self.isa, self.blas[self.isa], threads),
            self.start,
            self.folder,
            self.peak,
        )
        found = frameworks.find_rivals(self.pythons, "cpu", frameworks.ATTACK_STYLES)
        return measuring.measure(1, sorted({1, self.threads}), found)
