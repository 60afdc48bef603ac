"""Trains a small network on scikit-learn's digits, attacks it with `masking`, and says how far and how visibly."""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate

import infoadv

# SSIM looks at windows of 11 pixels, so the scans of 8 pixels are enlarged.
scans, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
images = interpolate(scans.float().reshape(-1, 1, 8, 8) / 16, size=32)

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(100):
    optimizer.zero_grad()
    cross_entropy(model(images), labels).backward()
    optimizer.step()

result = infoadv.attack(model, images[:32], labels[:32], "masking")
frame = infoadv.measure(images[:32], result.images, metrics=["l2", "linf", "ssim", "haarpsi"])
print(f"success {result.success.float().mean():.0%} with {int(result.forwards.max())} forward passes an image")
print(frame.describe())
