"""Losses of the fine-tuning methods on a fixed batch, and their gradients by what a network answers.

The formulas are those of the papers, with PyTorch's own distributions and losses where it has them.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from golden import seed, write

BETA = {"dpo": 3.0, "kto": 2.0, "spo": 10.0}
DESIRABLE_SHARE = 0.8
PAIRS = 3
GROUP = 3
CLIP = 0.05
ADVANTAGE_CLIP = 1.1
SHAPE = (2, 3, 5)


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).requires_grad_()


def mean_error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((output - target) ** 2).mean(dim=(1, 2, 3))


def put(tensors: dict, name: str, loss: torch.Tensor, inputs: dict) -> None:
    """The inputs, the loss, and the gradients of those that ask for one."""
    tensors |= {f"in.{name}.{key}": value for key, value in inputs.items()}
    tensors[f"out.{name}.loss"] = loss
    leaves = {key: value for key, value in inputs.items() if value.requires_grad}
    gradients = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
    tensors |= {f"grad.{name}.{key}": value for key, value in zip(leaves, gradients)}


def dpo(tensors: dict) -> None:
    """Diffusion-DPO: the first half of the rows are preferred, the second rejected."""
    output, reference, target = leaf(2 * PAIRS, *SHAPE), *torch.randn(2, 2 * PAIRS, *SHAPE)
    winner, loser = mean_error(output, target).chunk(2)
    base_winner, base_loser = mean_error(reference, target).chunk(2)
    inside = -0.5 * BETA["dpo"] * ((winner - loser) - (base_winner - base_loser))
    loss = -F.logsigmoid(inside).mean()
    put(tensors, "dpo", loss, {"output": output, "reference": reference, "target": target})


def kto(tensors: dict) -> None:
    """Diffusion-KTO with its three utilities: every second picture is desirable."""
    output, reference, target = leaf(6, *SHAPE), *torch.randn(2, 6, *SHAPE)
    sign = torch.tensor([1.0, -1.0]).repeat(3)
    weight = torch.where(sign > 0, 2 * DESIRABLE_SHARE, 2 * (1 - DESIRABLE_SHARE))
    gain = mean_error(reference, target) - mean_error(output, target)
    divergence = gain.mean().clamp(min=0).detach()
    u = sign * BETA["kto"] * (gain - divergence)
    utilities = {
        "kahneman-tversky": 1 - torch.sigmoid(u),
        "loss-averse": -F.logsigmoid(u),
        "risk-seeking": F.logsigmoid(-u),
    }
    inputs = {"output": output, "reference": reference, "target": target, "sign": sign}
    for name, loss in utilities.items():
        put(tensors, f"kto.{name}", (weight * loss).mean(), inputs)


def grpo(tensors: dict) -> None:
    """One step of GRPO: advantages of a group, clipped ratios, the divergence from the base."""
    rows, deviation = 2 * GROUP, 0.3
    mean, base = leaf(rows, *SHAPE), torch.randn(rows, *SHAPE)
    # Near the mean, as what was drawn is; old likelihoods on both sides of the new ones.
    sample = mean.detach() + deviation * torch.randn(rows, *SHAPE)
    reward = torch.randn(rows)
    log_prob = Normal(mean, deviation).log_prob(sample).mean(dim=(1, 2, 3))
    old = log_prob.detach() + torch.tensor([0.1, -0.1, 0.01, -0.01, 0.2, -0.2])
    groups = reward.view(2, GROUP)
    centred = groups - groups.mean(1, keepdim=True)
    advantages = {
        "group": centred / (groups.std(1, keepdim=True) + 1e-8),
        "rollout": centred / (reward.std(correction=0) + 1e-4),
    }
    divergence = kl_divergence(Normal(mean, deviation), Normal(base, deviation)).mean()
    inputs = {"mean": mean, "sample": sample, "old": old, "reward": reward, "base": base}
    for name, advantage in advantages.items():
        advantage = advantage.flatten().clamp(-ADVANTAGE_CLIP, ADVANTAGE_CLIP)
        ratio = torch.exp(log_prob - old)
        clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
        policy = torch.max(-advantage * ratio, -advantage * clipped).mean()
        tensors[f"out.grpo.{name}.advantages"] = advantage
        put(tensors, f"grpo.{name}", policy + 0.5 * divergence, inputs)


def spo(tensors: dict) -> None:
    """SPO: the better and the worse of the samples of a step, beside the base."""
    deviation, clip = 0.4, 0.1
    mean = leaf(PAIRS, *SHAPE)
    base = mean.detach() + 0.02 * torch.randn(PAIRS, *SHAPE)
    better, worse = (base + deviation * torch.randn(PAIRS, *SHAPE) for _ in range(2))

    def log_ratio(sample: torch.Tensor) -> torch.Tensor:
        def log_prob(of: torch.Tensor) -> torch.Tensor:
            return Normal(of, deviation).log_prob(sample).mean(dim=(1, 2, 3))

        return torch.exp(log_prob(mean) - log_prob(base)).clamp(1 - clip, 1 + clip).log()

    loss = -F.logsigmoid(BETA["spo"] * (log_ratio(better) - log_ratio(worse))).mean()
    inputs = {"mean": mean, "base": base, "better": better, "worse": worse}
    put(tensors, "spo", loss, inputs)


def everything(folder: Path) -> None:
    seed(131)
    tensors: dict = {}
    for method in (dpo, kto, grpo, spo):
        method(tensors)
    write(folder, "methods_small", BETA, "constants: see methods.py", 131, tensors)
