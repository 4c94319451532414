"""torch_attack.py STYLE: the bench's attacks in PyTorch, by the definitions of occam/perturbation.hpp.

STYLE batches:      batches of 256 rows, as the original study's notebook has them; one member.
STYLE tuned:        PGD in the batches and with the gradients, by autograd or by hand, that are fastest, and
                    where there are several members all of them in one batched product. A batch is what the
                    mean of the loss is taken over, so its size changes the gradient by a factor, which its
                    normalisation takes away again. AS-UAP steps once a batch and keeps 256.
STYLE torchattacks: PGD alone, by the package torchattacks; one member.

Members are copies of one: what they take does not depend on their values.
"""

import sys

import numpy
import torch
import torch.nn.functional as F
from serve import Stopwatch, fastest, serve

BATCH = 256
GUARD = 1e-10  # keeps a vanished gradient from dividing by zero
START = 1e-3
PGD = {"epsilon": 0.5, "step": 0.05, "iterations": 20}  # epsilon and step in units of the range
SVD = {"epsilon": 1.0, "step": 0.05, "iterations": 30}  # of its PGD; its universal vector has length 1
AS = {"epsilon": 1.0, "step": 0.05, "iterations": 30, "epochs": 2}  # absolute
UNIVERSAL_LENGTH = 1.0


def norms(rows):
    return torch.linalg.vector_norm(rows, dim=-1, keepdim=True)


class Attacker:
    """x: [rows][inputs] for one member, else [members][rows][inputs]; all else follows."""

    def __init__(self, path, device, members):
        arrays = numpy.load(path)
        self.device = torch.device(device)
        self.members, self.low, self.high = members, float(arrays["low"][0]), float(arrays["high"][0])
        to = lambda array: torch.from_numpy(array).to(self.device)  # noqa: E731
        many = lambda t: t.repeat(members, *[1] * t.dim()) if members > 1 else t  # noqa: E731
        self.x, self.y, self.simplest = (
            many(to(arrays["x"])),
            many(to(arrays["y"]).long()),
            to(arrays["simplest"]),
        )
        self.sign = (2 * self.y - 1).to(self.x.dtype)[..., None]
        layers = sum(name.startswith("weight_") for name in arrays)
        self.layers = [
            tuple(many(to(arrays[f"{kind}_{n}"])) for kind in ("weight", "bias")) for n in range(layers)
        ]

        self.classes = torch.arange(self.layers[-1][1].shape[-1], device=self.device)

    # ---- the network ---------------------------------------------------------------------------------------
    def linear(self, layer, x):
        weight, bias = self.layers[layer]
        if self.members == 1:
            return F.linear(x, weight, bias)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    def logits(self, x):
        for layer in range(len(self.layers) - 1):
            x = torch.relu(self.linear(layer, x))
        return self.linear(len(self.layers) - 1, x)

    def autograd(self, x, y):
        """The gradient at x of the attack's loss, which is meaned over the rows of each member."""
        x = x.detach().requires_grad_()
        loss = -F.cross_entropy(self.logits(x).flatten(0, -2), y.flatten(), reduction="sum") / y.shape[-1]
        return torch.autograd.grad(loss, x)[0]

    @torch.no_grad()
    def by_hand(self, x, y):
        """The same without a graph."""
        hidden = []
        for layer in range(len(self.layers) - 1):
            x = torch.relu_(self.linear(layer, x))
            hidden.append(x)
        gradient = torch.softmax(self.linear(len(self.layers) - 1, x), -1)
        gradient = ((self.classes == y[..., None]).to(gradient.dtype) - gradient) / y.shape[-1]
        for layer in reversed(range(len(self.layers))):
            if layer + 1 < len(self.layers):
                gradient = gradient * (hidden[layer] > 0)
            gradient = gradient @ self.layers[layer][0]
        return gradient

    def batches(self, rows):
        return zip(*(t.split(rows, dim=1 if self.members > 1 else 0) for t in (self.x, self.y, self.sign)))

    @torch.no_grad()
    def accuracy(self, x):
        """Of every member."""
        return (self.logits(x).argmax(-1) == self.y).float().mean(-1)

    def share(self, perturbations):
        """[..., rows][inputs] -> how much of each lies on the simplest coordinate, meaned over the rows."""
        length = norms(perturbations).squeeze(-1)
        along = (perturbations @ self.simplest).abs()
        moved = length > 0
        return torch.where(moved, along / length, 0.0).sum(-1) / moved.sum(-1)

    gradient = universal_gradient = autograd

    # ---- attacks -------------------------------------------------------------------------------------------
    def descend(self, x, y, epsilon, step, iterations):
        """PGD of one batch -> perturbations."""
        below, above = self.low - x, self.high - x
        delta = torch.empty_like(x).uniform_(-START, START)
        delta *= START / (norms(delta) + GUARD)
        for _ in range(iterations):
            gradient = self.gradient(x + delta, y)
            delta = delta - gradient * (step / (norms(gradient) + GUARD))
            delta = delta * (epsilon / norms(delta).clamp(min=epsilon))
            delta = torch.maximum(below, torch.minimum(above, delta))
        return delta

    def perturbations(self, batch, epsilon, step, iterations):
        """PGD of all rows."""
        width = self.high - self.low
        made = [
            self.descend(x, y, epsilon * width, step * width, iterations) for x, y, _ in self.batches(batch)
        ]
        return torch.cat(made, dim=-2)

    def pgd(self, batch):
        delta = self.perturbations(batch, **PGD)
        return {"accuracy": self.accuracy(self.x + delta), "share": self.share(delta)}

    def shifted(self, universal):
        return torch.clamp(self.x + self.sign * universal, self.low, self.high)

    def svd(self, batch):
        delta = self.perturbations(batch, **SVD)
        first = torch.linalg.eigh(delta.mT @ delta).eigenvectors[..., -1]  # right singular vector
        universal = UNIVERSAL_LENGTH * first[..., None, :]
        left = torch.stack([self.accuracy(self.shifted(sign * universal)) for sign in (1, -1)])
        return {"accuracy": left.min(0).values, "share": self.share(universal)}

    def universal(self, epsilon, step, iterations, epochs):
        vector = torch.zeros_like(self.x[..., :1, :])
        for _ in range(epochs):
            for x, y, sign in self.batches(BATCH):
                for _ in range(iterations):
                    moved = x + sign * vector
                    inside = torch.clamp(moved, self.low, self.high)
                    gradient = self.universal_gradient(inside, y) * sign * (moved == inside)
                    gradient = gradient.sum(-2, keepdim=True)
                    vector = vector - gradient * (step / (norms(gradient) + GUARD))
                    vector = vector * (epsilon / norms(vector).clamp(min=epsilon))
        return vector

    def as_uap(self, batch):
        del batch  # a step is one of BATCH rows
        vector = self.universal(**AS)
        return {"accuracy": self.accuracy(self.shifted(vector)), "share": self.share(vector)}


class TorchAttacks(Attacker):
    """The package takes images [rows][channels][height][width] on [0, 1]: rows are scaled to it, and the first
    layer takes the scale back without a further operation."""

    def __init__(self, path, device, members):
        import torchattacks

        super().__init__(path, device, members)
        if members != 1:
            raise ValueError("torchattacks attacks one network at a time")
        width = self.high - self.low
        self.images = ((self.x - self.low) / width).clamp(0, 1)[:, :, None, None]
        linear = [torch.nn.Linear(*weight.shape[::-1]) for weight, _ in self.layers]
        with torch.no_grad():
            for number, (layer, (weight, bias)) in enumerate(zip(linear, self.layers)):
                layer.weight.copy_(weight if number else weight * width)
                layer.bias.copy_(bias if number else bias + self.low * weight.sum(1))
        between = [module for layer in linear[:-1] for module in (layer, torch.nn.ReLU())]
        self.model = torch.nn.Sequential(torch.nn.Flatten(), *between, linear[-1]).to(self.device).eval()
        self.model.requires_grad_(False)
        self.attack = torchattacks.PGDL2(
            self.model, PGD["epsilon"], PGD["step"], PGD["iterations"], random_start=False
        )

    def pgd(self, batch):
        moved = [self.attack(x, y) for x, y in zip(self.images.split(batch), self.y.split(batch))]
        delta = (torch.cat(moved) - self.images).flatten(1) * (self.high - self.low)
        return {"accuracy": self.accuracy(self.x + delta), "share": self.share(delta)}


class Attacks:
    """The requests open and attack."""

    def __init__(self, style):
        self.style, self.attacker = style, None

    def open(self, path, device="cpu", members=1):
        """Makes the rows resident; STYLE tuned tries the ways to do PGD, torchattacks its batches."""
        torch.manual_seed(0)
        make = TorchAttacks if self.style == "torchattacks" else Attacker
        self.attacker = make(path, device, members)
        self.parts = {"pgd": self.attacker.pgd}
        if self.style != "torchattacks":
            self.parts.update(svd=self.attacker.svd, **{"as": self.attacker.as_uap})
        rows = self.attacker.x.shape[-2]
        sizes = (
            (BATCH,) if self.style == "batches" else sorted({min(rows, n) for n in (BATCH, 1024, 4096, rows)})
        )
        ways = ("autograd", "by_hand") if self.style == "tuned" else ("autograd",)
        variants = {
            f"batches of {size}, {way.replace('_', ' ')}": (size, way) for size in sizes for way in ways
        }
        tried, failed = {}, {}

        def start(variant):
            self.batch, way = variants[variant]
            self.attacker.gradient = getattr(self.attacker, way)

        def seconds_of(variant):
            start(variant)
            self.attack("pgd")  # the first one allocates, and a library chooses its kernels
            tried[variant] = self.attack("pgd")["cpu_seconds" if device == "cpu" else "seconds"]
            return tried[variant]

        variant = fastest(variants, seconds_of, failed)
        start(variant)
        best_way = fastest(ways, lambda way: tried[f"batches of {sizes[0]}, {way.replace('_', ' ')}"])
        self.attacker.universal_gradient = getattr(self.attacker, best_way)
        for part in self.parts:
            self.attack(part)
        return {
            "variant": variant,
            "parts": list(self.parts),
            "tried": tried,
            "failed": {name: f"{type(e).__name__}: {e}".splitlines()[0] for name, e in failed.items()},
        }

    def attack(self, part, threads=1):
        """One attack of every member. Accuracy and share are those of the members."""
        del threads  # rivals have one
        watch = Stopwatch()
        made = self.parts[part](self.batch)
        measured = {
            name: values.reshape(-1).tolist() for name, values in made.items()
        }  # waits for the device
        return {"members": self.attacker.members, **watch.report(), part: measured}


def info(device="cpu"):
    return {
        "version": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    attacks = Attacks(sys.argv[1])
    serve({"info": info, "open": attacks.open, "attack": attacks.attack})
