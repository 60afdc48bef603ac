"""Measures what an attack of foolbox returns, then runs the same attack under infoadv's rules: 8-bit images, counted passes."""

import foolbox
import torch
from skimage.data import lfw_subset

import infoadv
from infoadv.attacks import AttackResult

images = torch.tensor(lfw_subset()[:16], dtype=torch.float32)[:, None]
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(25 * 25, 10)).eval()
labels = model(images).argmax(1)


def linf_deepfool(model, images, labels, *, targets=None, indices=None, seed=0, steps=50):
    known = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
    _, clipped, success = foolbox.attacks.LinfDeepFoolAttack(steps=steps)(known, images, labels, epsilons=None)
    return AttackResult(clipped, torch.where(success, 0, -1))


by_foolbox = linf_deepfool(model, images, labels).adversarial
by_infoadv = infoadv.attack(model, images, labels, linf_deepfool, steps=50)
print("foolbox:", infoadv.measure(images, by_foolbox, metrics=["linf", "ssim"]).mean().to_dict())
print("infoadv:", infoadv.measure(images, by_infoadv.images, metrics=["linf", "ssim"]).mean().to_dict())
print(
    f"success on 8-bit images {by_infoadv.success.float().mean():.0%}, {int(by_infoadv.forwards.max())} forward passes"
)
