"""Losses of the fine-tuning methods on a fixed batch, and their gradients by what a network answers.

The formulas are those of the papers, with PyTorch's own distributions and losses where it has them.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from golden import seed, write
from test_time import ALPHAS

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


# Reward back-propagation: DDIM of a network that is one trained number a channel, and a reward that is
# the distance to a target. The steps before the last ones have no gradient.

STEPS, LEARNED, DRAWS, THRESHOLD = 5, 2, 3, -0.9
TIMES = [k * (1000 // STEPS) + 1 for k in reversed(range(STEPS))]


def level(i: int) -> float:
    """The squared signal of the sample that enters step i."""
    time = TIMES[i] if i < STEPS else TIMES[-1] - 1000 // STEPS
    return ALPHAS[time] if time >= 0 else ALPHAS[0]


def network(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return weight.view(1, -1, 1, 1) * torch.tanh(x)


def original(weight: torch.Tensor, x: torch.Tensor, i: int) -> torch.Tensor:
    return (x - (1 - level(i)) ** 0.5 * network(weight, x)) / level(i) ** 0.5


def ddim(weight: torch.Tensor, x: torch.Tensor, i: int) -> torch.Tensor:
    after = level(i + 1)
    return after**0.5 * original(weight, x, i) + (1 - after) ** 0.5 * network(weight, x)


def score(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -mean_error(x, target)


def rollout(weight: torch.Tensor, x: torch.Tensor, to: int) -> torch.Tensor:
    with torch.no_grad():
        for i in range(to):
            x = ddim(weight, x, i)
    return x


def reward_gradient(tensors: dict) -> None:
    """DRaFT-K and AlignProp's truncation, DRaFT-LV, and ReFL's hinge on one-step estimates."""
    weight, start, target = leaf(SHAPE[0]), *torch.randn(2, PAIRS, *SHAPE)
    inputs = {"weight": weight, "start": start, "target": target}
    for learned in (1, LEARNED, STEPS):
        x = rollout(weight, start, STEPS - learned)
        for i in range(STEPS - learned, STEPS):
            x = ddim(weight, x, i)
        put(tensors, f"draft.{learned}", -score(x, target).mean(), inputs)

    noise = torch.randn(DRAWS, PAIRS, *SHAPE)
    end, last = rollout(weight, start, STEPS), STEPS - 1
    signal = level(last)
    losses = [
        -score(ddim(weight, signal**0.5 * end + (1 - signal) ** 0.5 * each, last), target).mean()
        for each in noise
    ]
    put(tensors, "draft_lv", torch.stack(losses).mean(), inputs | {"noise": noise.flatten(0, 1)})

    x = rollout(weight, start, STEPS - LEARNED)
    scores = score(original(weight, x, STEPS - LEARNED), target)
    put(tensors, "refl", F.relu(THRESHOLD - scores).mean(), inputs)


# SRPO: a flow from `early` noise down to `late`, and from `late` up; what the words are worth is the
# distance to two targets. Emphases of a run whose level is at these shares of the range.

EARLY, LATE = 0.9, 0.8
EMPHASIS = {"denoising": 1.1 + 0.15 * 0.6, "inversion": 1.3 - 0.29 * 0.4}


def srpo(tensors: dict) -> None:
    velocity = leaf(PAIRS, *SHAPE)
    data, noise, wanted, unwanted = torch.randn(4, PAIRS, *SHAPE)
    inputs = {"velocity": velocity, "data": data, "noise": noise}
    inputs |= {"wanted": wanted, "unwanted": unwanted}
    branches = {"denoising": (EARLY, LATE), "inversion": (LATE, EARLY)}
    for name, (start, end) in branches.items():
        sample = (1 - start) * data + start * noise
        # One Euler step of the flow, and the noise that is left taken off.
        picture = (sample + (end - start) * velocity - end * noise) / (1 - end)
        first, second = (wanted, unwanted) if name == "denoising" else (unwanted, wanted)
        relative = EMPHASIS[name] * score(picture, first) - score(picture, second)
        put(tensors, f"srpo.{name}", -relative.mean(), inputs)


def everything(folder: Path) -> None:
    gradients: dict = {}
    seed(132)
    for method in (reward_gradient, srpo):
        method(gradients)
    write(folder, "methods_gradient_small", {}, "constants: see methods.py", 132, gradients)

    seed(131)
    tensors: dict = {}
    for method in (dpo, kto, grpo, spo):
        method(tensors)
    write(folder, "methods_small", BETA, "constants: see methods.py", 131, tensors)
