"""tools/bench's rivals that train ensembles beside those that train one network, under the interpreters of
OCCAM_BENCH_PYTHON and this one."""

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

from bench_case import answer_of
from bench_lib import frameworks
from bench_lib.contestant import Contestant, ContestantError

# Two classes by the sign of one coordinate, which a network learns in a few epochs.
DATA = """
import json, os, sys, numpy
random = numpy.random.default_rng(5)
def rows(count):
    x = random.uniform(-1, 1, (count, 6)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")
path = os.path.join(sys.argv[1], "data.npz")
(x, y), (x_test, y_test) = rows(400), rows(100)
numpy.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
batches = [random.permutation(400)[:32] for _ in range(40)]
"""

TORCH = """
import torch
from torch_ensemble import Ensemble, ORDERS
from torch_rival import Tuned
torch.set_num_threads(1)
answer = {"difference": {}, "orders": {}}
for precision, members in (("fp32", 1), ("fp32", 3), ("bf16", 2)):
    for way in ("vmap", "batched products"):
        many = Ensemble(path, [12, 8], 32, "cpu", members, precision)
        many.start(f"{way}, eager, rows by sorting")
        first = {name: value.detach().clone() for name, value in many.parameters.items()}
        x, y = many.tables["train"]
        for rows in batches:
            many.train_on(x[:, rows], y[:, rows])
        worst = 0.0
        for member in range(members):
            one = Tuned(path, [12, 8], 32, "cpu")
            one.start("plain SGD, gather per batch")
            linear = [layer for layer in one.model if isinstance(layer, torch.nn.Linear)]
            with torch.no_grad():
                for number, layer in enumerate(linear):
                    layer.weight.copy_(first[f"layers.{number}.weight"][member])
                    layer.bias.copy_(first[f"layers.{number}.bias"][member])
            for rows in batches:
                one.update(x[member, rows].float(), y[member, rows])
            for number, layer in enumerate(linear):
                for kind in ("weight", "bias"):
                    there = many.parameters[f"layers.{number}.{kind}"][member]
                    worst = max(worst, (there - getattr(layer, kind)).abs().max().item())
                    moved = (there - first[f"layers.{number}.{kind}"][member]).abs().max().item()
                    assert moved > 1e-3, "nothing was trained"
        answer["difference"][f"{precision} {members} {way}"] = worst
for name, make in ORDERS.items():
    order = make(3, 400, 32, torch.device("cpu"))
    epochs = []
    for _ in range(2):
        order.new_epoch()
        taken = []
        for count in [32] * 12 + [16]:
            taken.append(order.batch_rows(count))
            order.step += 1
        epochs.append(torch.cat(taken, 1))
    answer["orders"][name] = [epoch.tolist() for epoch in epochs]
many = Ensemble(path, [12, 8], 32, "cpu", 3, "fp32")
many.start(many.variants[0])
answer["before"] = many.accuracies("train")
many.epochs(20)
answer["after"], answer["test"] = many.accuracies("train"), many.accuracies("test")
"""

JAX = """
import jax, jax.numpy as jnp
import jax_ensemble, jax_rival
update_many, update_one = jax.jit(jax.vmap(jax_ensemble.update)), jax.jit(jax_rival.update)
answer = {"difference": {}, "orders": {}}
for precision, members in (("fp32", 1), ("fp32", 3), ("bf16", 2)):
    many = jax_ensemble.Ensemble(path, [12, 8], 32, "cpu", members, precision)
    many.start(many.variants[0])
    x, y = many.tables["train"]
    trained = many.parameters
    for rows in batches:
        trained = update_many(trained, x[:, rows], y[:, rows])
    worst = 0.0
    for member in range(members):
        one = first = [tuple(array[member] for array in layer) for layer in many.parameters]
        for rows in batches:
            one, _ = update_one(one, (x[member, rows].astype(jnp.float32), y[member, rows]))
        for here, there, start in zip(one, trained, first):
            for a, b, c in zip(here, there, start):
                worst = max(worst, float(jnp.abs(a - b[member]).max()))
                assert float(jnp.abs(a - c).max()) > 1e-3, "nothing was trained"
    answer["difference"][f"{precision} {members}"] = worst
for name, make in jax_ensemble.ORDERS.items():
    answer["orders"][name] = [
        [make(key, 400)(jnp.arange(400)).tolist() for key in jax.random.split(jax.random.PRNGKey(epoch), 3)]
        for epoch in range(2)
    ]
ends = []
for over in ("vmap", "map"):
    for order in jax_ensemble.ORDERS:
        of_order = []
        for unit in ("epoch", "batch"):
            many = jax_ensemble.Ensemble(path, [12, 8], 32, "cpu", 3, "fp32")
            many.start(f"{over}, {order}, gather per {unit}")
            many.epochs(3)
            of_order.append(many.parameters)
        ends.append(
            max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree_util.tree_leaves, of_order)))
        )
answer["gathers_differ"] = max(ends)
many = jax_ensemble.Ensemble(path, [12, 8], 32, "cpu", 3, "fp32")
many.start(many.variants[0])
answer["before"] = many.accuracies("train")
many.epochs(20)
answer["after"], answer["test"] = many.accuracies("train"), many.accuracies("test")
"""


def with_module(module, least):
    """(interpreter, "") with at least this version, or ("", why there is none)."""
    why = "not installed"
    for python in frameworks.interpreters([sys.executable]):
        version, why_not = frameworks.installed_version(python, module)
        if version and frameworks.release(version) >= least:
            return python, ""
        if version:
            why = f"{version}; it takes {'.'.join(map(str, least))}"
        elif why_not != "not installed":
            why = why_not
    return "", f"{module}: {why}"


class RealRivals(unittest.TestCase):
    def ask(self, module, least, script):
        python, why = with_module(module, least)
        if not python:
            self.skipTest(why)
        whole = DATA + textwrap.dedent(script) + "\nprint(json.dumps(answer))\n"
        return answer_of(python, whole)

    def check(self, answer):
        for problem, difference in answer["difference"].items():
            # BF16 keeps 8 bits of a product's operands, and 40 updates of lr 0.1 follow one another.
            self.assertLess(difference, 0.05 if problem.startswith("bf16") else 1e-4, problem)
        for name, epochs in answer["orders"].items():
            for epoch in epochs:
                for member in epoch:
                    self.assertEqual(sorted(member), list(range(400)), name)
            every = [tuple(member) for epoch in epochs for member in epoch]
            self.assertEqual(len(set(every)), len(every), name)  # own ones for each member and epoch
        for before, after in zip(answer["before"][1], answer["after"][1]):
            self.assertLess(after, 0.5 * before)
        for correct in answer["test"][0]:
            self.assertGreater(correct, 85)

    def test_torch(self):
        self.check(self.ask("torch", (2, 0), TORCH))

    def test_jax(self):
        answer = self.ask("jax", (0, 4), JAX)
        self.check(answer)
        self.assertLess(answer["gathers_differ"], 1e-4)

    def test_requests(self):
        """The protocol, with an ensemble of the framework that is there."""
        ran = 0
        for style in frameworks.ENSEMBLE_STYLES:
            python, _ = with_module(style.module, style.least_version)
            if not python or style.module == "torch":  # whose open compiles for a minute
                continue
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([python, "-c", DATA, folder], check=True, timeout=60)
                with Contestant(style.name, frameworks.Rival(style, "", python).command()) as rival:
                    path = os.path.join(folder, "data.npz")
                    opened = rival.ask("open", path=path, hidden=[8], batch=32, members=2)
                    self.assertGreaterEqual(opened["data_bytes"], 2 * 4 * 500 * 6)
                    self.assertIn(opened["variant"], opened["tried"])
                    self.assertEqual(rival.ask("run", epochs=3)["updates"], 2 * 3 * 13)
                    self.assertEqual(len(rival.ask("check")["test_correct"]), 2)
                    with self.assertRaisesRegex(ContestantError, "precision 'fp8' is not known"):
                        rival.ask("open", path=path, hidden=[8], batch=32, precision="fp8")
            ran += 1
        if not ran:
            self.skipTest("jax: not installed")


if __name__ == "__main__":
    unittest.main()
