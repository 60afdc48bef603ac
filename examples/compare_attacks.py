"""Compares three attacks at equal success on a network of yours, and draws SSIM against L2 into compare_attacks.png."""

import torch
from matplotlib import pyplot
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate

import infoadv

scans, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = interpolate(scans.float().reshape(-1, 1, 8, 8) / 16, size=32)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 10))
optimizer = torch.optim.Adam(model.parameters())
for _ in range(100):
    optimizer.zero_grad()
    cross_entropy(model(images), labels).backward()
    optimizer.step()

images, labels = images[:32], labels[:32]
results = {name: infoadv.attack(model, images, labels, name) for name in ("masking", "ddn", "pgd_linf")}
common = torch.stack([result.success for result in results.values()]).all(0)
for name, result in results.items():
    frame = infoadv.measure(images[common], result.images[common], metrics=["l2", "ssim"])
    print(f"{name:10} L2 {frame['l2'].mean():.3f}  SSIM {frame['ssim'].mean():.3f}  of {int(common.sum())} images")
    pyplot.scatter(frame["l2"], frame["ssim"], label=name)
pyplot.gca().set(xlabel="L2", ylabel="SSIM")
pyplot.legend()
pyplot.savefig("compare_attacks.png")
