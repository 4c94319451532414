"""torch_ensemble.py: many networks of the same shape in PyTorch, one call for all of them.

Parameters are stacked, [members] first. Gradients come from torch.func (vmap over grad of functional_call) or
from autograd through batched products; the update is compiled where that works, and on a GPU it is captured
in a graph, with the choice of rows, and replayed.
"""

import functools

import numpy
import torch
import torch.nn.functional as F
from ensemble import (
    LEARNING_RATE,
    PERMUTATION_ROUNDS,
    WEIGHT_DECAY,
    EnsembleTraining,
    factors,
    initial,
    rotations,
)
from serve import serve

MOST_UPDATES_PER_GRAPH = 32
EVALUATED_ROWS = 4096  # of every member at once: bounds the activations' memory


class Network(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(*pair) for pair in zip(widths, widths[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class Order:
    """The rows of each member's batch, in an order of the member's own that changes every epoch. `step` is on
    the device, so that a captured update can advance it."""

    def __init__(self, members, rows, batch, device):
        self.members, self.rows, self.batch = members, rows, batch
        self.device = device
        self.step = torch.zeros((), dtype=torch.int64, device=device)

    def new_epoch(self):
        self.step.zero_()
        self.draw()

    def places(self, count):
        return self.step * self.batch + torch.arange(count, device=self.device)


class SortedOrder(Order):
    """Sorts random keys, once an epoch."""

    def draw(self):
        keys = torch.rand(self.members, self.rows, device=self.device)
        order = keys.argsort(dim=1)
        if hasattr(self, "order"):
            self.order.copy_(order)  # a graph reads this address
        else:
            self.order = order

    def batch_rows(self, count):
        return self.order.index_select(1, self.places(count))


class KeyedOrder(Order):
    """Computes the batch's rows (ensemble.factors)."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.a, self.b = factors(self.rows)
        make = functools.partial(torch.zeros, dtype=torch.int64, device=self.device)
        self.left = make(PERMUTATION_ROUNDS, self.members, self.b)
        self.right = make(PERMUTATION_ROUNDS, self.members, self.a)

    def draw(self):
        self.left.random_(0, self.a)
        self.right.random_(0, self.b)

    def batch_rows(self, count):
        place = self.places(count).expand(self.members, count)
        left, right = place // self.b, place % self.b
        for to_left, to_right in zip(self.left, self.right):
            left = (left + to_left.gather(1, right)) % self.a
            right = (right + to_right.gather(1, left)) % self.b
        return left * self.b + right


ORDERS = {"rows by sorting": SortedOrder, "rows by a keyed permutation": KeyedOrder}


class Ensemble:
    def __init__(self, path, hidden, batch, device, members, precision):
        # Also what torch.backends.cuda.matmul.allow_tf32 says.
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        self.device = torch.device(device)
        self.compute = torch.bfloat16 if precision == "bf16" else torch.float32
        self.members, self.batch = members, batch
        arrays = numpy.load(path)
        turns = torch.from_numpy(rotations(members, arrays["x_train"].shape[1])).to(self.device)
        self.tables = {}
        for split in ("train", "test"):
            base = torch.from_numpy(arrays[f"x_{split}"]).to(self.device)
            x = torch.empty(members, *base.shape, dtype=self.compute, device=self.device)
            for member in range(members):
                x[member] = base @ turns[member] if member else base
            y = torch.from_numpy(arrays[f"y_{split}"]).long().to(self.device)
            self.tables[split] = x, y.repeat(members, 1)
        self.rows, self.inputs = self.tables["train"][0].shape[1:]
        self.widths = [self.inputs, *hidden, 2]
        self.bytes = sum(t.numel() * t.element_size() for table in self.tables.values() for t in table)
        self.member = torch.arange(members, device=self.device)[:, None]
        with torch.device("meta"):
            self.network = Network(self.widths)
        self.variants = tuple(
            f"{gradients}, {way}, {order}"
            for gradients in ("vmap", "batched products")
            for way in (("graph", "compiled, graph") if self.device.type == "cuda" else ("eager", "compiled"))
            for order in (ORDERS if self.device.type == "cuda" else list(ORDERS)[:1])
        )
        self.compiled = {}  # gradients -> the compiled update, which every order shares

    # ---- one update of all members -------------------------------------------------------------------------
    def member_loss(self, parameters, x, y):
        """Of one member. Products in self.compute, the loss in fp32."""
        cast = {name: value.to(self.compute) for name, value in parameters.items()}
        return F.cross_entropy(torch.func.functional_call(self.network, cast, (x,)).float(), y)

    def logits(self, x):
        """[members][rows][2] of x [members][rows][inputs], by batched products."""
        *hidden, last = range(len(self.widths) - 1)
        of = lambda layer, kind: self.parameters[f"layers.{layer}.{kind}"].to(self.compute)  # noqa: E731
        for layer in hidden:
            x = torch.relu(torch.baddbmm(of(layer, "bias")[:, None], x, of(layer, "weight").mT))
        return torch.baddbmm(of(last, "bias")[:, None], x, of(last, "weight").mT).float()

    def vmap_gradients(self, x, y):
        return torch.func.vmap(torch.func.grad(self.member_loss))(self.parameters, x, y)

    def product_gradients(self, x, y):
        loss = F.cross_entropy(self.logits(x).flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
        return dict(zip(self.parameters, torch.autograd.grad(loss, list(self.parameters.values()))))

    def update(self, gradients_of, x, y):
        """x: [members][batch][inputs], y: [members][batch]. Parameters change in place."""
        gradients = gradients_of(x, y)
        with torch.no_grad():
            values = list(self.parameters.values())
            steps = torch._foreach_add(
                [gradients[name] for name in self.parameters], values, alpha=WEIGHT_DECAY
            )
            torch._foreach_add_(values, steps, alpha=-LEARNING_RATE)

    def take(self, count):
        """Gathers the next batch of every member and trains on it."""
        rows = self.order.batch_rows(count)
        x, y = self.tables["train"]
        self.train_on(x[self.member, rows], y.gather(1, rows))
        self.order.step += 1

    # ---- trainer -------------------------------------------------------------------------------------------
    def start(self, variant):
        self.variant = variant
        gradients, way = variant.split(", ")[:2]
        torch.manual_seed(0)
        self.parameters = {}
        for layer, (weight, bias) in enumerate(initial(self.members, self.widths)):
            self.parameters[f"layers.{layer}.weight"] = torch.from_numpy(weight).mT.contiguous()
            self.parameters[f"layers.{layer}.bias"] = torch.from_numpy(bias)
        needs = gradients != "vmap"
        self.parameters = {
            name: value.to(self.device).requires_grad_(needs) for name, value in self.parameters.items()
        }
        of_gradients = {"vmap": self.vmap_gradients, "batched products": self.product_gradients}[gradients]
        self.train_on = functools.partial(self.update, of_gradients)
        if way == "compiled":
            compiled = torch.compile(self.train_on, dynamic=False)
            self.train_on = self.compiled.setdefault(gradients, compiled)
        order = ORDERS[variant.split(", ")[-1]]
        self.order = order(self.members, self.rows, self.batch, self.device)
        self.order.new_epoch()
        whole, rest = divmod(self.rows, self.batch)
        sizes = [(updates, size) for updates, size in ((whole, self.batch), (1, rest)) if updates * size]
        if ", graph" in variant:
            self.plan = [self.captured(updates, size) for updates, size in sizes]
        else:
            self.plan = [(updates, functools.partial(self.take, size)) for updates, size in sizes]

    def captured(self, updates, size):
        """(replays an epoch, replay) of `updates` updates of `size` rows."""
        each = next(n for n in range(min(updates, MOST_UPDATES_PER_GRAPH), 0, -1) if updates % n == 0)
        saved = {name: value.detach().clone() for name, value in self.parameters.items()}
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries allocate and choose their kernels before the capture
            for _ in range(3):
                self.order.step.zero_()
                self.take(size)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(each):
                self.take(size)
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(saved[name])
        return updates // each, graph.replay

    def epochs(self, count):
        for _ in range(count):
            self.order.new_epoch()
            for repeats, take in self.plan:
                for _ in range(repeats):
                    take()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @torch.no_grad()
    def accuracies(self, split):
        """(correct rows, mean loss) of every member."""
        x, y = self.tables[split]
        correct, loss = 0, 0
        for first in range(0, x.shape[1], EVALUATED_ROWS):
            part = slice(first, first + EVALUATED_ROWS)
            logits = self.logits(x[:, part])
            correct = correct + (logits.argmax(2) == y[:, part]).sum(1)
            loss = loss + F.cross_entropy(logits.mT, y[:, part], reduction="none").sum(1)
        return correct.tolist(), (loss / x.shape[1]).tolist()


def info(device="cpu"):
    return {
        "version": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cuda": torch.version.cuda if device == "cuda" else "",
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(EnsembleTraining(Ensemble).operations(info))
