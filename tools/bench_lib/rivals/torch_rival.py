"""torch_rival.py STYLE: the bench's training in PyTorch.

STYLE tuned:    rows sliced from tensors in the order of a permutation, with the fastest optimiser there is.
STYLE compiled: the same with torch.compile around the loss.
STYLE loader:   as the original study's notebook: DataLoaders, for the updates and for the checks.
"""

import sys

import numpy
import torch
import torch.nn.functional as F
from serve import Stopwatch, Training, serve
from torch.utils.data import DataLoader, TensorDataset

LEARNING_RATE, WEIGHT_DECAY = 0.1, 5e-5
OPTIMIZERS = {"plain SGD": {"foreach": False}, "foreach SGD": {"foreach": True}, "fused SGD": {"fused": True}}


class Trainer:
    """One network with its data. Subclasses say how batches are made and an update is done."""

    variants = ("",)
    variant = ""

    def __init__(self, path, hidden, batch, device):
        arrays = numpy.load(path)
        self.device = torch.device(device)
        self.tables = {
            split: (
                torch.from_numpy(arrays[f"x_{split}"]).to(self.device),
                torch.from_numpy(arrays[f"y_{split}"]).long().to(self.device),
            )
            for split in ("train", "test")
        }
        self.rows, self.inputs = self.tables["train"][0].shape
        self.hidden, self.batch = hidden, batch
        self.start("")

    def start(self, variant):
        """A fresh network, trained the way `variant` says."""
        self.variant = variant
        widths = [self.inputs, *self.hidden]
        layers = []
        for fan_in, fan_out in zip(widths, widths[1:]):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 2)).to(self.device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            **OPTIMIZERS.get(variant.split(", ")[0], {}),
        )

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def loss(self, x, y):
        return F.cross_entropy(self.model(x), y)

    def epochs(self, count):
        for _ in range(count):
            for x, y in self.batches():
                self.update(x, y)
        self.wait()


class Tuned(Trainer):
    variants = tuple(
        f"{optimizer}, gather per {unit}" for optimizer in OPTIMIZERS for unit in ("epoch", "batch")
    )

    def batches(self):
        x, y = self.tables["train"]
        order = torch.randperm(self.rows, device=self.device)
        if self.variant.endswith("epoch"):
            return zip(x[order].split(self.batch), y[order].split(self.batch))
        return ((x[rows], y[rows]) for rows in order.split(self.batch))

    def update(self, x, y):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(x, y).backward()
        self.optimizer.step()

    def accuracy(self, split):
        x, y = self.tables[split]
        with torch.no_grad():
            logits = self.model(x)
            return (logits.argmax(1) == y).float().mean().item(), F.cross_entropy(logits, y).item()


class Compiled(Tuned):
    def start(self, variant):
        super().start(variant)
        self.compiled = torch.compile(super().loss, dynamic=False)

    def loss(self, x, y):
        return self.compiled(x, y)


class Loader(Trainer):
    def start(self, variant):
        super().start(variant)
        self.loaders = {
            split: DataLoader(TensorDataset(*table), batch_size=self.batch, shuffle=split == "train")
            for split, table in self.tables.items()
        }
        self.last_loss = 1.0

    def batches(self):
        for x, y in self.loaders["train"]:
            yield x.to(self.device), y.to(self.device)

    def update(self, x, y):
        self.model.train()
        self.optimizer.zero_grad()
        self.loss(x, y).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.eval()

    def accuracy(self, split):
        """Means over rows; the notebook looks at half of the training set while its loss is high."""
        loader = self.loaders[split]
        wanted = len(loader) // 2 if split == "train" and self.last_loss > 0.75 else len(loader)
        correct = loss = rows = 0
        with torch.no_grad():
            for number, (x, y) in enumerate(loader):
                if number == wanted:
                    break
                x, y = x.to(self.device), y.to(self.device)
                logits = self.model(x)
                correct += (logits.argmax(1) == y).sum().item()
                loss += F.cross_entropy(logits, y, reduction="sum").item()
                rows += len(y)
        if split == "train":
            self.last_loss = loss / rows
        return correct / rows, loss / rows


STYLES = {"tuned": Tuned, "compiled": Compiled, "loader": Loader}


def info(device="cpu"):
    return {
        "version": torch.__version__,
        "build": " ".join(torch.__config__.show().split()),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }


def fit(trainer, check_every, patience, epsilon, max_updates):
    """A fresh network to its stop: a check follows updates 0, g, 2g, ...; at the first with train accuracy of
    at least 1 - epsilon patience starts: patience - 1 more updates, then one final check."""
    trainer.start(trainer.variant)
    watch, check_seconds = Stopwatch(), 0.0
    updates = checks = 0
    last_update = max_updates

    def check():
        nonlocal check_seconds, checks
        of_check = Stopwatch()
        measured = {split: trainer.accuracy(split) for split in ("train", "test")}
        check_seconds += of_check.report()["seconds"]
        checks += 1
        return measured

    converged = False
    while updates < last_update:
        for x, y in trainer.batches():
            trainer.update(x, y)
            updates += 1
            if (updates - 1) % check_every == 0:
                measured = check()
                if not converged and measured["train"][0] >= 1 - epsilon:
                    converged, last_update = True, min(max_updates, updates + patience - 1)
            if updates == last_update:
                break
    if patience > 1 or not converged:
        measured = check()
    return {
        "updates": updates,
        "checks": checks,
        "check_seconds": check_seconds,
        **watch.report(),
        "status": "converged" if converged else "limit",
        "train_accuracy": measured["train"][0],
        "test_accuracy": measured["test"][0],
        "train_loss": measured["train"][1],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    training = Training(STYLES[sys.argv[1]])
    serve(
        {
            "info": info,
            "open": training.open,
            "run": training.run,
            "fit": lambda **rule: fit(training.trainer, **rule),
        }
    )
