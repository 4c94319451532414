"""torch_images.py: stars_and_moons' network in PyTorch, as the original script trains it: 40000-1024-1024-2, ReLU,
Adam with learning rate 1e-4, batches of 100 in a new random order every epoch. The images are dense floats and stay
resident; batches are slices of the shuffled rows, which spares it the script's DataLoader."""

import numpy
import torch
from serve import Stopwatch, serve

BATCH = 100


class Images:
    def __init__(self):
        self.arrays = {}

    def open(self, path, device="cpu"):
        loaded = numpy.load(path)
        for name in loaded:
            values = torch.from_numpy(loaded[name]).to(device)
            self.arrays[name] = values.float() if name.startswith("x_") else values.long()
        self.device = device
        return {}

    @torch.no_grad()
    def accuracy(self, network, name):
        rows = zip(self.arrays["x_" + name].split(500), self.arrays["y_" + name].split(500))
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in rows)
        return right / len(self.arrays["y_" + name])

    def fit(self, updates, seed=0):
        torch.manual_seed(seed)
        widths = (self.arrays["x_train"].shape[1], 1024, 1024, 2)
        linear = [torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:])]
        network = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
        network.to(self.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        x, y = self.arrays["x_train"], self.arrays["y_train"]
        watch, done = Stopwatch(), 0
        while done < updates:
            for rows in torch.randperm(len(y), device=self.device).split(BATCH)[: updates - done]:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
                optimizer.step()
                done += 1
        if self.device != "cpu":
            torch.cuda.synchronize()
        reply = {"updates": done, **watch.report()}
        return {**reply, **{f"{name}_accuracy": self.accuracy(network, name) for name in ("train", "iid", "uniform")}}


if __name__ == "__main__":
    images = Images()
    serve({"open": images.open, "fit": images.fit})
