#!/usr/bin/env python3
"""Writes tests/data/pytorch_vectors.npz: small nets trained by PyTorch in double precision, and one attack of
each norm, whole runs with projection and bounds at work.

The tests compare the CPU body with these numbers, so that "as PyTorch defines it" is checked against PyTorch
itself. Only whoever adds a case needs to run this (the file is by PyTorch 2.15; what 1.13 writes agrees to
1e-14); the file it writes is kept with the sources.

Philox, the keyed permutation, batches and dropout masks are written out here from docs/arithmetic.md once
more, so that the vectors also check the order of an epoch. Arrays of a case, each under "<case>/":
  settings    float64, see SETTINGS           hidden   int32 [layers]
  x, y        training rows float32 [rows, inputs], int32 [rows]
  test_x      float32 [rows, inputs]
  start       float32, flat as ParameterLayout orders them
  gradient    float64, of the first update, trainable parameters only
  loss        float64 [updates], each update's training loss before its step
  end         float64, flat, after the updates
  logits      float64 [test rows, outputs], inference mode, after the updates
"""
import itertools
import math
import pathlib

import numpy
import torch

SETTINGS = ["inputs", "classes", "activation", "loss", "batch_norm", "optimizer", "learning_rate", "momentum",
            "weight_decay", "beta1", "beta2", "alpha", "epsilon", "input_dropout", "hidden_dropout", "batch",
            "updates", "order_seed"]
ACTIVATIONS = ["relu", "leaky_relu", "prelu", "tanh", "identity"]
LOSSES = ["cross_entropy", "binary_cross_entropy", "hinge"]
OPTIMIZERS = ["sgd", "adam", "rmsprop"]
EPOCH_ORDER, DROPOUT = 6, 7  # streams
MASK = 0xFFFFFFFF


# ---- Occam's random numbers, from their definition ---------------------------------------------------------
def philox(counter, key0, key1):
    c0, c1, c2, c3 = counter
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c2 = (product1 >> 32) ^ c1 ^ key0, (product0 >> 32) ^ c3 ^ key1
        c1, c3 = product1 & MASK, product0 & MASK
        key0, key1 = (key0 + 0x9E3779B9) & MASK, (key1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def permutation(key, size):
    bits = max(7, (size - 1).bit_length())
    left_bits = bits // 2
    right_bits = bits - left_bits
    left_mask, right_mask = (1 << left_bits) - 1, (1 << right_bits) - 1
    round_keys = [key[r % 4] ^ (0x85EBCA6B * (r // 4)) for r in range(8)]

    def mix(half, round_key):
        h = (half + round_key) * 0x9E3779B1 & MASK
        h ^= h >> 15
        h = h * 0x2C1B3C6D & MASK
        return h ^ h >> 13

    def once(x):
        left, right = x >> right_bits, x & right_mask
        for r in range(0, 8, 2):
            left = (left ^ mix(right, round_keys[r])) & left_mask
            right = (right ^ mix(left, round_keys[r + 1])) & right_mask
        return left << right_bits | right

    order = []
    for place in range(size):
        x = once(place)
        while x >= size:
            x = once(x)
        order.append(x)
    return order


def batch_rows(update, rows, batch, order_seed):
    batches = -(-rows // batch)
    epoch, first = update // batches, update % batches * batch
    order = permutation(philox((epoch, 0, 0, 0), order_seed, EPOCH_ORDER), rows)
    return order[first:first + batch]


def dropout_mask(probability, order_seed, layer, update, samples, width):
    threshold = int(probability * 2**32)
    return torch.tensor([[0.0 if philox((f // 4, s, layer, update), order_seed, DROPOUT)[f % 4] < threshold
                          else 1 / (1 - probability) for f in range(width)] for s in range(samples)])


# ---- the nets ----------------------------------------------------------------------------------------------
class Net(torch.nn.Module):
    def __init__(self, case):
        super().__init__()
        widths = [case["inputs"], *case["hidden"], case["classes"] if case["loss"] == "cross_entropy" else 1]
        self.linear = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        activation = {"relu": torch.nn.ReLU, "leaky_relu": torch.nn.LeakyReLU, "prelu": torch.nn.PReLU,
                      "tanh": torch.nn.Tanh, "identity": torch.nn.Identity}[case["activation"]]
        norm = torch.nn.BatchNorm1d if case["batch_norm"] else torch.nn.Identity
        self.activation = torch.nn.ModuleList(activation() for _ in case["hidden"])
        self.norm = torch.nn.ModuleList(norm(width) for width in case["hidden"])

    def forward(self, x, masks=None):
        if masks:
            x = x * masks[0]
        for layer, (activation, norm) in enumerate(zip(self.activation, self.norm)):
            x = activation(self.linear[layer](x))
            if masks:
                x = x * masks[layer + 1]
            x = norm(x)
        return self.linear[-1](x)

    def trainable(self):
        for layer, linear in enumerate(self.linear):
            yield from (linear.weight, linear.bias)
            if layer < len(self.activation):
                yield from self.activation[layer].parameters()
                yield from self.norm[layer].parameters()

    def running(self):
        for norm in self.norm:
            if isinstance(norm, torch.nn.BatchNorm1d):
                yield from (norm.running_mean, norm.running_var)


def flat(tensors):
    parts = [t.detach().numpy().ravel() for t in tensors]
    return numpy.concatenate(parts).astype(numpy.float64) if parts else numpy.zeros(0)


def loss_of(case, logits, labels):
    if case["loss"] == "cross_entropy":
        return torch.nn.functional.cross_entropy(logits, labels)
    if case["loss"] == "binary_cross_entropy":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.double())
    return torch.clamp(1 - (2.0 * labels - 1) * logits[:, 0], min=0).mean()


def optimizer_of(case, parameters):
    common = {"lr": case["learning_rate"], "weight_decay": case["weight_decay"]}
    if case["optimizer"] == "sgd":
        return torch.optim.SGD(parameters, momentum=case["momentum"], **common)
    if case["optimizer"] == "adam":
        common["betas"] = (case["beta1"], case["beta2"])
        return torch.optim.Adam(parameters, eps=case["epsilon"], **common)
    common["momentum"] = case["momentum"]
    return torch.optim.RMSprop(parameters, alpha=case["alpha"], eps=case["epsilon"], **common)


def fresh_net(case, random):
    """A net whose every number is random and exact in fp32."""
    net = Net(case)
    with torch.no_grad():
        for linear in net.linear:
            bound = 1 / math.sqrt(linear.in_features)
            for tensor in (linear.weight, linear.bias):
                tensor.copy_(torch.tensor(random.uniform(-bound, bound, tensor.shape).astype(numpy.float32)))
        for activation in net.activation:
            for slope in activation.parameters():
                slope.fill_(numpy.float32(0.2))
        for norm in net.norm:
            if isinstance(norm, torch.nn.BatchNorm1d):
                for tensor, low, high in ((norm.weight, 0.5, 1.5), (norm.bias, -0.5, 0.5),
                                          (norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 2)):
                    tensor.copy_(torch.tensor(random.uniform(low, high, tensor.shape).astype(numpy.float32)))
    return net


def train(name, case, arrays, random):
    rows = case["rows"]
    y = random.integers(0, case["classes"], rows)
    centres = random.normal(size=(case["classes"], case["inputs"]))
    x = (centres[y] + random.normal(size=(rows, case["inputs"]))).astype(numpy.float32)
    test_x = random.normal(size=(6, case["inputs"])).astype(numpy.float32)
    net = fresh_net(case, random)
    put = lambda key, value: arrays.__setitem__(f"{name}/{key}", value)  # noqa: E731
    put("start", flat([*net.trainable(), *net.running()]).astype(numpy.float32))
    optimizer = optimizer_of(case, list(net.parameters()))
    losses = []
    for update in range(case["updates"]):
        net.train()
        chosen = batch_rows(update, rows, case["batch"], case["order_seed"])
        masks = None
        if case["input_dropout"] or case["hidden_dropout"]:
            widths = [case["inputs"], *case["hidden"]]
            probabilities = [case["input_dropout"]] + [case["hidden_dropout"]] * len(case["hidden"])
            masks = [dropout_mask(probability, case["order_seed"], layer, update, len(chosen), width)
                     for layer, (probability, width) in enumerate(zip(probabilities, widths))]
        optimizer.zero_grad()
        loss = loss_of(case, net(torch.tensor(x[chosen]).double(), masks), torch.tensor(y[chosen]))
        loss.backward()
        if update == 0:
            put("gradient", flat(p.grad for p in net.trainable()))
        losses.append(loss.item())
        optimizer.step()
    net.eval()
    settings = [ACTIVATIONS.index(case[k]) if k == "activation" else LOSSES.index(case[k]) if k == "loss" else
                OPTIMIZERS.index(case[k]) if k == "optimizer" else case[k] for k in SETTINGS]
    put("settings", numpy.array(settings, numpy.float64))
    put("hidden", numpy.array(case["hidden"], numpy.int32))
    put("x", x), put("y", y.astype(numpy.int32)), put("test_x", test_x)
    put("loss", numpy.array(losses))
    put("end", flat([*net.trainable(), *net.running()]))
    put("logits", net(torch.tensor(test_x).double()).detach().numpy())


# ---- attacks -----------------------------------------------------------------------------------------------
def attack(norm, case, seed):
    """Untargeted PGD from 0: gradient of minus the mean cross-entropy; step, projection, then the bounds.

    Returns the arrays x, y, hidden, start (parameters), constants = [epsilon, step, low, high], delta
    [iterations + 1, rows, inputs], and how far the run stays from where rounding would turn it: the least
    magnitude of a hidden unit before its ReLU and, for linf, of a gradient whose sign is taken.
    """
    random = numpy.random.Generator(numpy.random.PCG64(seed))
    rows, iterations = 12, 8
    net = fresh_net(case, random).eval()
    epsilon, step = (0.75, 0.25) if norm == "l2" else (0.25, 0.0625)
    low, high = -1.25, 1.5
    x = random.normal(size=(rows, case["inputs"])).astype(numpy.float32).clip(low, high)
    y = random.integers(0, case["classes"], rows)
    inputs, labels = torch.tensor(x).double(), torch.tensor(y)
    hidden_units = []
    for linear in list(net.linear)[:-1]:
        linear.register_forward_hook(lambda module, given, z: hidden_units.append(z.detach()))
    delta = torch.zeros_like(inputs)
    deltas, gradients = [delta.numpy()], []
    for _ in range(iterations):
        delta.requires_grad_(True)
        gradient, = torch.autograd.grad(-loss_of(case, net(inputs + delta), labels), delta)
        delta = delta.detach()
        if norm == "l2":
            delta = delta - step * gradient / (gradient.norm(dim=1, keepdim=True) + 1e-10)
            delta = delta * epsilon / delta.norm(dim=1, keepdim=True).clamp(min=epsilon)
        else:
            delta = (delta - step * gradient.sign()).clamp(-epsilon, epsilon)
            gradients.append(gradient)
        delta = torch.minimum(torch.maximum(delta, low - inputs), high - inputs)
        deltas.append(delta.numpy())
    clearance = min(tensor.abs().min().item() for tensor in hidden_units + gradients)
    return {"x": x, "y": y.astype(numpy.int32), "hidden": numpy.array(case["hidden"], numpy.int32),
            "start": flat(net.trainable()).astype(numpy.float32),
            "constants": numpy.array([epsilon, step, low, high]), "delta": numpy.stack(deltas)}, clearance


def clear_attack(name, norm, case, arrays):
    """The first seed's run that fp32 can follow: it stays 1e-4 away from every change of sign."""
    for seed in itertools.count():
        made, clearance = attack(norm, case, seed)
        if clearance > 1e-4:
            break
    print(f"{name}: seed {seed}, {clearance:.1e} from the nearest change of sign")
    arrays.update({f"{name}/{key}": value for key, value in made.items()})


# ---- the cases ---------------------------------------------------------------------------------------------
BASE = {"inputs": 6, "hidden": [9, 7], "classes": 2, "activation": "relu", "loss": "cross_entropy",
        "batch_norm": False, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0,
        "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "epsilon": 1e-8, "input_dropout": 0.0,
        "hidden_dropout": 0.0, "rows": 24, "batch": 24, "updates": 8, "order_seed": 5}
ADAM = {"optimizer": "adam", "learning_rate": 0.01}
RMSPROP = {"optimizer": "rmsprop", "learning_rate": 0.003}
MOMENTUM = {"momentum": 0.9, "weight_decay": 0.01}
MINI_BATCHES = {"rows": 29, "batch": 8, "updates": 10}
CASES = {
    "sgd": {},
    "sgd_weight_decay": {"weight_decay": 0.05},
    "sgd_momentum": MOMENTUM,
    "adam": ADAM,
    "adam_weight_decay": {**ADAM, "weight_decay": 0.05, "beta1": 0.8, "beta2": 0.95},
    "rmsprop": RMSPROP,
    "rmsprop_momentum": {**RMSPROP, **MOMENTUM, "alpha": 0.9},
    "leaky_relu": {**MOMENTUM, "activation": "leaky_relu"},
    "prelu": {**MOMENTUM, "activation": "prelu"},
    "prelu_adam": {**ADAM, "activation": "prelu"},
    "tanh": {**MOMENTUM, "activation": "tanh"},
    "tanh_rmsprop": {**RMSPROP, "activation": "tanh"},
    "identity": {**MOMENTUM, "activation": "identity"},
    "five_classes": {**MOMENTUM, "classes": 5},
    "binary_cross_entropy": {**MOMENTUM, "loss": "binary_cross_entropy"},
    "hinge": {**MOMENTUM, "loss": "hinge"},
    "batch_norm": {**MOMENTUM, "batch_norm": True},
    "batch_norm_tanh_adam": {**ADAM, "batch_norm": True, "activation": "tanh", "weight_decay": 0.01},
    "linear_model": {**MOMENTUM, "hidden": []},
    "deep": {**MOMENTUM, "hidden": [7, 6, 5, 4], "activation": "tanh"},
    "mini_batches": {**MOMENTUM, **MINI_BATCHES},
    "mini_batches_batch_norm_prelu_adam": {**ADAM, **MINI_BATCHES, "batch_norm": True, "activation": "prelu"},
    "dropout": {**MOMENTUM, **MINI_BATCHES, "input_dropout": 0.2, "hidden_dropout": 0.4},
    "dropout_batch_norm": {**MOMENTUM, "rows": 40, "batch": 14, "hidden_dropout": 0.2, "batch_norm": True,
                           "activation": "tanh"},
}


def main():
    torch.set_default_dtype(torch.float64)
    published = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert philox((0, 0, 0, 0), 0, 0) == published
    arrays = {}
    random = numpy.random.Generator(numpy.random.PCG64(2020))
    for name, changes in CASES.items():
        train(name, {**BASE, **changes}, arrays, random)
    for norm in ("l2", "linf"):
        clear_attack(f"pgd_{norm}", norm, {**BASE, "classes": 3}, arrays)
    path = pathlib.Path(__file__).resolve().parent.parent / "data" / "pytorch_vectors.npz"
    numpy.savez_compressed(path, **arrays)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size} bytes, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
