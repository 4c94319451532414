"""jax_rival.py: the bench's training in JAX: one jitted call an epoch, lax.scan over its updates."""

import functools

import jax
import jax.numpy as jnp
import numpy
from serve import Training, serve

LEARNING_RATE, WEIGHT_DECAY = 0.1, 5e-5


def loss(parameters, x, y):
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = parameters[-1]
    log_probability = jax.nn.log_softmax(x @ weight + bias)
    return -jnp.take_along_axis(log_probability, y[:, None], axis=1).mean()


def update(parameters, batch):
    gradients = jax.grad(loss)(parameters, *batch)
    step = lambda p, g: p - LEARNING_RATE * (g + WEIGHT_DECAY * p)  # noqa: E731
    return jax.tree_util.tree_map(step, parameters, gradients), None


@functools.partial(jax.jit, static_argnames="batch", donate_argnames="parameters")
def epoch(parameters, x, y, order, batch):
    """order: the epoch's permutation, or a key to draw it from."""
    if order.shape != y.shape:
        order = jax.random.permutation(order, y.shape[0])
    x, y = x[order], y[order]
    whole = y.shape[0] // batch
    cut = whole * batch
    batches = (x[:cut].reshape(whole, batch, -1), y[:cut].reshape(whole, batch))
    parameters, _ = jax.lax.scan(update, parameters, batches)
    if cut < y.shape[0]:
        parameters, _ = update(parameters, (x[cut:], y[cut:]))
    return parameters


class Trainer:
    variants = ("permutation in JAX", "permutation in numpy")

    def __init__(self, path, hidden, batch, device):
        if device != jax.default_backend():
            raise ValueError(f"JAX runs on {jax.default_backend()}, not on {device}")
        arrays = numpy.load(path)
        self.x, self.y = jnp.asarray(arrays["x_train"]), jnp.asarray(arrays["y_train"])
        self.widths, self.batch, self.rows = [self.x.shape[1], *hidden, 2], batch, len(self.y)
        self.random = numpy.random.default_rng(0)

    def start(self, variant):
        self.variant, self.key = variant, jax.random.PRNGKey(0)
        uniform = lambda fan_in, *shape: jnp.asarray(  # noqa: E731
            self.random.uniform(-1, 1, shape).astype("float32") / fan_in**0.5
        )
        self.parameters = [
            (uniform(fan_in, fan_in, fan_out), uniform(fan_in, fan_out))
            for fan_in, fan_out in zip(self.widths, self.widths[1:])
        ]

    def epochs(self, count):
        for _ in range(count):
            if self.variant == "permutation in JAX":
                self.key, order = jax.random.split(self.key)
            else:
                order = jnp.asarray(self.random.permutation(self.rows))
            self.parameters = epoch(self.parameters, self.x, self.y, order, batch=self.batch)
        jax.block_until_ready(self.parameters)


def info(device="cpu"):
    return {"version": jax.__version__, "device": str(jax.devices()[0])}


if __name__ == "__main__":
    training = Training(Trainer)
    serve({"info": info, "open": training.open, "run": training.run})
