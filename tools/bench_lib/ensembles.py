"""Ensembles: Occam and rivals that train many members in one call, in turns, on one device, at one precision.

Rates are of updates of all members together. What a check of all members costs (accuracy and loss on the
training and the test set) is measured by itself; with checks means one every CHECK_EVERY updates, as in the
original study's notebook. A model is a member after MODEL_UPDATES updates.
"""

import os
import statistics

from . import frameworks
from .contestant import Contestant, ContestantError
from .measure import flop_per_update, median_ratio, rates, take_turns

INPUTS, OUTPUTS, BATCH = 50, 2, 256
PRECISIONS = ("fp32", "tf32", "bf16")
MODEL_UPDATES = CHECK_EVERY = 5000
ELEMENT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2}
CUBLAS_TARGETS = {(2000,): 0.85}  # share of what cuBLAS takes for the same products, by hidden layers
OPEN_SECONDS = 1800  # the most that making data and trying variants may take
LACKS = "this build does not offer it"


def updates_with_checks(rate, check_seconds, members):
    """Updates a second of all members when a check of `check_seconds` follows every CHECK_EVERY updates."""
    return 1 / (1 / rate + check_seconds / (members * CHECK_EVERY))


def floor_of(flop, precision, ceilings):
    """Updates a second that this device cannot exceed: the operations at the measured peak of the precision,
    and one batch of rows read at the measured copy bandwidth (GB/s)."""
    peak = {"fp32": "ffma_gflops", "tf32": "tf32_gflops", "bf16": "bf16_gflops"}[precision]
    if not ceilings.get(peak) or not ceilings.get("copy_gbs"):
        return None
    stride = -(-INPUTS // 4) * 4
    read = BATCH * (stride * ELEMENT_BYTES[precision] + 4)
    return 1 / max(flop / (ceilings[peak] * 1e9), read / (ceilings["copy_gbs"] * 1e9))


class Ensembles:
    """start_occam() and start_rival(rival) start a contestant. device: cpu or cuda; ceilings: measured, or
    empty; sgemm: the measured GFLOP/s of the device's fp32 matrix product, or None."""

    def __init__(self, device, settings, contention, log, start_occam, start_rival, ceilings=None, sgemm=None):
        self.device, self.settings, self.contention, self.log = device, settings, contention, log
        self.start_occam, self.start_rival = start_occam, start_rival
        self.ceilings, self.sgemm = ceilings or {}, sgemm

    def measure(self, hidden, members, precision, data, rivals):
        """(Occam's row, a row of each rival). data: path of one member's rows, for the rivals."""
        self.log(f"{members} member{'s' if members > 1 else ''} of {'x'.join(map(str, hidden))}, {precision}")
        problem = {"net": hidden, "members": members, "precision": precision}
        own, rows = dict(problem), []
        opened = None
        try:
            opened = self.open_occam(hidden, members, precision)
            own.update(self.alone(opened, problem))
        except ContestantError as error:
            if error.exit_code == 4:
                raise
            own["status"] = f"failed: {error}"
        except LookupError as error:
            own["status"] = str(error)
        try:
            for rival in rivals:
                row = {"name": rival.style.name, "version": rival.version, **problem, "status": rival.status}
                rows.append(row)
                if not rival.python:
                    continue
                try:
                    row.update(self.against(opened, rival, problem, data))
                except ContestantError as error:
                    row["status"] = f"failed: {error}"
        finally:
            if opened:
                opened.close()
        return own, rows

    # ---- Occam ---------------------------------------------------------------------------------------------
    def open_occam(self, hidden, members, precision):
        occam = self.start_occam()
        try:
            if precision not in occam.ask("info", device=self.device)["precisions"]:
                raise LookupError(LACKS)
            occam.ask(
                "open",
                timeout=OPEN_SECONDS,
                device=self.device,
                hidden=hidden,
                members=members,
                precision=precision,
                train=self.settings.train_rows,
            )
            return occam
        except BaseException:
            occam.close()
            raise

    def alone(self, occam, problem):
        hidden, members, precision = problem["net"], problem["members"], problem["precision"]
        of_occam = rates(take_turns([occam], self.settings, self.contention)[0])
        flop = flop_per_update(INPUTS, hidden, OUTPUTS, self.settings.train_rows, BATCH)
        rate = statistics.median(of_occam)
        floor = floor_of(flop, precision, self.ceilings)
        sgemm = self.sgemm if precision == "fp32" else None
        return {
            "status": "measured",
            **self.speed(rate, self.check_seconds(occam), members),
            "gflops": rate * flop * 1e-9,
            "floor_models_per_second": floor and floor / MODEL_UPDATES,
            "share_of_floor": floor and rate / floor,
            "share_of_sgemm": sgemm and rate * flop * 1e-9 / sgemm,
            **self.cublas(occam, problem, members / rate),
            "samples": of_occam,
        }

    def cublas(self, occam, problem, seconds):
        """What cuBLAS takes for the matrix products alone of one update of all members, beside the `seconds` of
        Occam's whole update; on a GPU, in fp32. Where it fails, why, and the rest of the row stands."""
        hidden, members, precision = problem["net"], problem["members"], problem["precision"]
        status = reply = None
        if self.device == "cuda" and precision == "fp32":
            widths = [INPUTS, *hidden, OUTPUTS]
            try:
                reply = occam.ask("cuda_products", widths=widths, batch=BATCH, members=members)
                status = "measured"
            except ContestantError as error:
                self.log(str(error))
                status = f"failed: {error}"
        return {
            "cublas_status": status,
            "cublas_products_seconds": reply and reply["seconds"],
            "cublas_products": reply and reply["products"],
            "share_of_cublas": reply and reply["seconds"] / seconds,
            "target_share_of_cublas": CUBLAS_TARGETS.get(hidden) if reply else None,
        }

    def check_seconds(self, contestant):
        contestant.ask("check")  # the first one makes the test rows, and compiles
        return statistics.median(
            self.settings.seconds(contestant.ask("check")) for _ in range(self.settings.repeats)
        )

    def speed(self, rate, check_seconds, members):
        with_checks = updates_with_checks(rate, check_seconds, members)
        return {
            "updates_per_second": rate,
            "models_per_second": rate / MODEL_UPDATES,
            "check_seconds": check_seconds,
            "models_per_second_with_checks": with_checks / MODEL_UPDATES,
        }

    # ---- rivals --------------------------------------------------------------------------------------------
    def against(self, occam, rival, problem, data):
        """One rival, in turns with Occam if that trains at this precision."""
        hidden, members, precision = problem["net"], problem["members"], problem["precision"]
        with self.start_rival(rival) as contestant:
            opened = contestant.ask(
                "open",
                timeout=OPEN_SECONDS,
                path=data,
                hidden=hidden,
                batch=BATCH,
                device=self.device,
                members=members,
                precision=precision,
            )
            turns = take_turns(([occam] if occam else []) + [contestant], self.settings, self.contention)
            theirs = rates(turns[-1])
            row = {
                "status": "measured",
                "variant": opened["variant"],
                "tried": opened["tried"],
                "variants_failed": opened["failed"],
                "data_bytes": opened["data_bytes"],
                **self.speed(statistics.median(theirs), self.check_seconds(contestant), members),
                "samples": {"rival": theirs},
            }
            if not occam:
                return row
            ours, check = rates(turns[0]), self.check_seconds(occam)
            row["samples"]["occam"] = ours
            row["occam_updates_per_second"] = statistics.median(ours)
            row["ratio"] = median_ratio(ours, theirs)
            row["ratio_with_checks"] = median_ratio(
                [updates_with_checks(rate, check, members) for rate in ours],
                [updates_with_checks(rate, row["check_seconds"], members) for rate in theirs],
            )
            return row


def compare_with_best(occam_rows, rival_rows):
    """Enters into each of Occam's rows its ratio to the fastest rival of the same net, members and
    precision."""
    problem = lambda row: (row["net"], row["members"], row["precision"])  # noqa: E731
    for own in occam_rows:
        able = [row for row in rival_rows if problem(row) == problem(own) and "ratio" in row]
        if own["status"] != "measured" or not able:
            continue
        best = max(able, key=lambda row: row["updates_per_second"])
        own["best_rival"] = " ".join(filter(None, (best["name"], best["version"])))
        own["ratio_to_best_rival"] = best["ratio"]
        own["ratio_to_best_rival_with_checks"] = best["ratio_with_checks"]
