"""jax_ensemble.py: many networks of the same shape in JAX: vmap over members of a scan over the updates of an
epoch, in one jitted call with donated parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy
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

MATMUL_PRECISION = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "default"}
EVALUATED_ROWS = 5000  # of every member at once: bounds the activations' memory


def logits(parameters, x):
    """fp32 [rows][2] of one member; products in the type of x."""
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight.astype(x.dtype) + bias.astype(x.dtype))
    weight, bias = parameters[-1]
    return (x @ weight.astype(x.dtype) + bias.astype(x.dtype)).astype(jnp.float32)


def row_losses(parameters, x, y):
    log_probability = jax.nn.log_softmax(logits(parameters, x))
    return -jnp.take_along_axis(log_probability, y[:, None], axis=1)[:, 0]


def update(parameters, x, y):
    gradients = jax.grad(lambda p: row_losses(p, x, y).mean())(parameters)
    step = lambda p, g: p - LEARNING_RATE * (g + WEIGHT_DECAY * p)  # noqa: E731
    return jax.tree_util.tree_map(step, parameters, gradients)


def sorted_order(key, rows):
    """A function of places [n] -> rows [n], each row once an epoch: by sorting random keys."""
    order = jax.random.permutation(key, rows)
    return lambda places: order[places]


def keyed_order(key, rows):
    """The same, computed for the places that are asked for (ensemble.factors)."""
    a, b = factors(rows)
    key_left, key_right = jax.random.split(key)
    to_left = jax.random.randint(key_left, (PERMUTATION_ROUNDS, b), 0, a)
    to_right = jax.random.randint(key_right, (PERMUTATION_ROUNDS, a), 0, b)

    def rows_of(places):
        left, right = places // b, places % b
        for of_left, of_right in zip(to_left, to_right):
            left = (left + of_left[right]) % a
            right = (right + of_right[left]) % b
        return left * b + right

    return rows_of


def member_epoch(parameters, key, x, y, batch, order, gather):
    """One member's epoch. x: [rows][inputs], y: [rows]."""
    rows = y.shape[0]
    whole = rows // batch
    rows_of = order(key, rows)
    if gather == "epoch":
        every = rows_of(jnp.arange(rows))
        x, y, rows_of = x[every], y[every], lambda places: places

    def train(parameters, first, count):
        if gather == "epoch":
            of_batch = [jax.lax.dynamic_slice_in_dim(table, first, count) for table in (x, y)]
        else:
            taken = rows_of(first + jnp.arange(count))
            of_batch = [x[taken], y[taken]]
        return update(parameters, *of_batch)

    parameters, _ = jax.lax.scan(
        lambda p, first: (train(p, first, batch), None), parameters, batch * jnp.arange(whole)
    )
    return train(parameters, whole * batch, rows - whole * batch) if rows % batch else parameters


ORDERS = {"rows by sorting": sorted_order, "rows by a keyed permutation": keyed_order}


@functools.partial(jax.jit, static_argnames=("batch", "variant"), donate_argnames="parameters")
def epoch(parameters, key, x, y, batch, variant):
    """One epoch of all members, each in an order of its own."""
    over, order, gather = variant.split(", ")
    of_member = functools.partial(
        member_epoch, batch=batch, order=ORDERS[order], gather=gather.removeprefix("gather per ")
    )
    keys = jax.random.split(key, y.shape[0])
    if over == "vmap":
        return jax.vmap(of_member)(parameters, keys, x, y)
    return jax.lax.map(lambda member: of_member(*member), (parameters, keys, x, y))


@jax.jit
def tally(parameters, x, y):
    """(correct rows, sum of losses) of every member."""
    of_member = lambda p, x, y: (  # noqa: E731
        (logits(p, x).argmax(1) == y).sum(),
        row_losses(p, x, y).sum(),
    )
    return jax.vmap(of_member)(parameters, x, y)


class Ensemble:
    def __init__(self, path, hidden, batch, device, members, precision):
        backend = {"cuda": "gpu"}.get(device, device)
        if backend != jax.default_backend():
            raise ValueError(f"JAX runs on {jax.default_backend()}, not on {device}")
        jax.config.update("jax_default_matmul_precision", MATMUL_PRECISION[precision])
        arrays = numpy.load(path)
        turns = jnp.asarray(rotations(members, arrays["x_train"].shape[1]))
        kind = jnp.bfloat16 if precision == "bf16" else jnp.float32
        self.tables = {}
        for split in ("train", "test"):
            base = jnp.asarray(arrays[f"x_{split}"])
            x = jnp.einsum("ri,mij->mrj", base, turns, precision="highest").astype(kind)
            self.tables[split] = x, jnp.tile(jnp.asarray(arrays[f"y_{split}"]), (members, 1))
        self.members, self.rows, inputs = self.tables["train"][0].shape
        self.widths, self.batch = [inputs, *hidden, 2], batch
        self.bytes = sum(array.nbytes for table in self.tables.values() for array in table)
        # On a CPU members may as well go one after another; a GPU needs them side by side.
        ways = ("vmap",) if device == "cuda" or members == 1 else ("vmap", "map")
        self.variants = tuple(
            f"{over}, {order}, gather per {unit}"
            for over in ways
            for order in (ORDERS if device == "cuda" else list(ORDERS)[:1])
            for unit in ("epoch", "batch")
        )

    def start(self, variant):
        self.variant, self.key = variant, jax.random.PRNGKey(0)
        self.parameters = [
            tuple(jnp.asarray(array) for array in layer) for layer in initial(self.members, self.widths)
        ]

    def epochs(self, count):
        for _ in range(count):
            self.key, of_epoch = jax.random.split(self.key)
            self.parameters = epoch(
                self.parameters, of_epoch, *self.tables["train"], batch=self.batch, variant=self.variant
            )
        jax.block_until_ready(self.parameters)

    def accuracies(self, split):
        """(correct rows, mean loss) of every member."""
        x, y = self.tables[split]
        correct = loss = 0
        for first in range(0, x.shape[1], EVALUATED_ROWS):
            part = slice(first, first + EVALUATED_ROWS)
            of_part = tally(self.parameters, x[:, part], y[:, part])
            correct, loss = correct + of_part[0], loss + of_part[1]
        return correct.tolist(), (loss / x.shape[1]).tolist()


def info(device="cpu"):
    return {"version": jax.__version__, "device": str(jax.devices()[0])}


if __name__ == "__main__":
    serve(EnsembleTraining(Ensemble).operations(info))
