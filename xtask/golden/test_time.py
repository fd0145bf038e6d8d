"""The methods that work while a picture is sampled, by the formulas of their papers.

A made-up network under classifier-free guidance, a made-up decoder and a made-up reward, all of
them differentiable; the noise is that of our own streams. Every sample that the network is asked
about is written down, in order: all candidates, particles and repeated steps.
"""

import math
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from golden import write
from philox import SAMPLER, SEARCH, START, Stream, normal

SEED, STEPS, GUIDANCE, PROMPT = 11, 6, 2.0, 0.3
SHAPE = (2, 4, 4)
SIZE = math.prod(SHAPE)

BEST = {"name": "best-of-n", "n": 4}
EPSILON = {
    "name": "epsilon-greedy",
    "candidates": 3,
    "iterations": 2,
    "radius": 0.15,
    "exploration": 0.4,
}
RUNS = {
    "best_of_n": BEST,
    "zero_order": EPSILON | {"name": "zero-order", "exploration": 0.0},
    "epsilon_greedy": EPSILON,
    "compat_lookahead": EPSILON | {"exploration": 0.2, "compat_lookahead": True},
    "das": {"name": "das", "particles": 3, "alpha": 0.02, "ess_threshold": 0.9},
    "das_compat": {
        "name": "das",
        "particles": 3,
        "alpha": 0.02,
        "ess_threshold": 0.9,
        "compat_guidance_order": True,
    },
    "freedom": {"name": "freedom"},
    "dymo": {"name": "dymo", "views": 2, "rounds": [20.0, 40.0], "most_repeats": 2},
}


def alphas() -> list[float]:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).tolist()


ALPHAS = alphas()
SPACING = 1000 // STEPS
TIMES = [k * SPACING + 1 for k in reversed(range(STEPS))]


def level(i: int) -> float:
    """The squared signal of the sample that enters step i."""
    time = TIMES[i] if i < STEPS else TIMES[-1] - SPACING
    return ALPHAS[time] if time >= 0 else ALPHAS[0]


def network(x: torch.Tensor, t: int, prompt: float) -> torch.Tensor:
    return 0.35 * x + 0.1 * torch.sin(3 * x) + 0.05 * math.cos(t / 100) + prompt * torch.cos(x)


def maps(x: torch.Tensor) -> torch.Tensor:
    """Where the picture looks at the two tokens of the text."""
    return torch.sigmoid(x)


def decode(z: torch.Tensor) -> torch.Tensor:
    a, b = z[:, 0:1], z[:, 1:2]
    return 0.5 * torch.cat([a, b, a * b], 1)


RAMP = torch.linspace(-0.5, 1.0, 48).reshape(1, 3, 4, 4)


def reward(pictures: torch.Tensor) -> torch.Tensor:
    return (torch.tanh(pictures) * RAMP).flatten(1).mean(1)


def score(z: torch.Tensor) -> torch.Tensor:
    return reward(decode(z).clamp(-1, 1))


class Sampler:
    """Ancestral sampling (DDIM with eta 1), with a note of every sample that is looked at."""

    def __init__(self):
        self.looked = []

    def look(self, x: torch.Tensor, i: int):
        self.looked.append(x.detach().clone())
        plain, told = network(x, TIMES[i], 0.0), network(x, TIMES[i], PROMPT)
        difference = told - plain
        epsilon = plain + GUIDANCE * difference
        now, then = level(i), level(i + 1)
        estimate = (x - math.sqrt(1 - now) * epsilon) / math.sqrt(now)
        deviation = math.sqrt((1 - then) / (1 - now) * (1 - now / then))
        mean = math.sqrt(then) * estimate + math.sqrt(1 - then - deviation**2) * epsilon
        return mean, deviation, estimate, difference

    def renoise(self, x: torch.Tensor, i: int, which: int) -> torch.Tensor:
        keep = level(i) / level(i + 1)
        return math.sqrt(keep) * x + math.sqrt(1 - keep) * search(i, which)


def start(rows: int) -> torch.Tensor:
    return normal([Stream(SEED, START, 0, k) for k in range(rows)], SHAPE)


def drawn(i: int, rows: int) -> torch.Tensor:
    return normal([Stream(SEED, SAMPLER, i, k) for k in range(rows)], SHAPE)


def search(i: int, which: int) -> torch.Tensor:
    return normal([Stream(SEED, SEARCH, i, which)], SHAPE)


def best_of_n(run: dict, sampler: Sampler) -> torch.Tensor:
    x = start(run["n"])
    for i in range(STEPS):
        mean, deviation, _, _ = sampler.look(x, i)
        x = mean + deviation * drawn(i, run["n"])
    best = score(x).argmax()
    return x[best : best + 1]


def noise_search(run: dict, sampler: Sampler) -> torch.Tensor:
    count, same = run["candidates"], run.get("compat_lookahead", False)
    x = start(1)
    for i in range(STEPS):
        mean, deviation, _, _ = sampler.look(x, i)
        pivot = drawn(i, 1)
        for k in range(run["iterations"]):
            candidates = []
            for n in range(count):
                stream = Stream(SEED, SEARCH, i, k * count + n)
                explores = stream.uniform() < run["exploration"]
                share = stream.uniform()
                direction = torch.tensor(stream.normals(SIZE), dtype=torch.float64)
                step = run["radius"] * math.sqrt(SIZE) * share * direction / direction.norm()
                candidate = direction if explores else step
                candidate = candidate.float().reshape(1, *SHAPE)
                candidates.append(candidate if explores else pivot + candidate)
            candidates = torch.cat(candidates)
            ahead = mean + deviation * candidates
            if same:
                ahead = sampler.look(ahead, i)[2]
            elif i + 1 < STEPS:
                ahead = sampler.look(ahead, i + 1)[2]
            best = score(ahead).argmax()
            pivot = candidates[best : best + 1]
        x = mean + deviation * pivot
    return x


def ssp(weights: list[float], stream: Stream) -> list[int]:
    n = len(weights)
    children = [math.floor(n * w) for w in weights]
    rest = [n * w - math.floor(n * w) for w in weights]
    i, j = 0, 1
    for k in range(n - 1):
        up, down = min(rest[j], 1 - rest[i]), min(rest[i], 1 - rest[j])
        p = up / (up + down) if up + down > 0 else 0.0
        if stream.uniform() < p:
            i, j = j, i
        if rest[j] < 1 - rest[i]:
            rest[i] += rest[j]
            j = k + 2
        else:
            rest[j] -= 1 - rest[i]
            children[i] += 1
            i = k + 2
    if sum(children) == n - 1:
        children[min(i, j, n - 1)] += 1
    return [parent for parent, count in enumerate(children) for _ in range(count)]


def das(run: dict, sampler: Sampler) -> torch.Tensor:
    count, alpha = run["particles"], run["alpha"]
    gamma = math.expm1(math.log(2) / (0.87 * STEPS))
    x = start(count)
    log_weights = torch.zeros(count, dtype=torch.float64)
    log_ratio, last = torch.zeros_like(log_weights), torch.zeros_like(log_weights)
    for i in range(STEPS):
        x = x.detach().requires_grad_()
        mean, deviation, estimate, _ = sampler.look(x, i)
        scores = score(estimate)
        gradient = torch.autograd.grad(scores.sum(), x)[0]
        mean = mean.detach()
        now, then = (min((1 + gamma) ** k - 1, 1.0) for k in (i, i + 1))
        psi = now * scores.detach().double() / alpha
        log_weights = log_weights + log_ratio + psi - last
        weights = torch.softmax(log_weights, 0)
        if 1 / (weights**2).sum() < run["ess_threshold"] * count:
            parents = ssp(weights.tolist(), Stream(SEED, SEARCH, i, 0))
            mean = mean[parents]
            if not run.get("compat_guidance_order"):
                gradient, psi = gradient[parents], psi[parents]
            log_weights = torch.zeros_like(log_weights)
        last = psi
        shift = deviation**2 * then * gradient / alpha
        x = mean + shift + deviation * drawn(i, count)

        def log_density(around: torch.Tensor) -> torch.Tensor:
            return -((x - around).double() ** 2).flatten(1).sum(1) / (2 * deviation**2)

        log_ratio = log_density(mean) - log_density(mean + shift)
    log_weights = log_weights + log_ratio + score(x).double() / alpha - last
    best = log_weights.argmax()
    return x[best : best + 1]


def rms(x: torch.Tensor) -> float:
    return x.square().mean().sqrt().item()


def freedom(_: dict, sampler: Sampler) -> torch.Tensor:
    x = start(1)
    for i in range(STEPS):
        guided, repeats = 2 <= i < 4, 3 if 2 <= i < 4 else 1
        for k in range(repeats):
            if k > 0:
                x = sampler.renoise(x, i, 2 * k)
            x = x.detach().requires_grad_()
            mean, deviation, estimate, difference = sampler.look(x, i)
            if guided:
                energy = -score(estimate).sum()
                gradient = torch.autograd.grad(energy, x)[0]
                rho = 0.2 * GUIDANCE * rms(difference) / rms(gradient)
                mean = mean - rho * gradient
            noise = drawn(i, 1) if k == 0 else search(i, 2 * k + 1)
            x = (mean + deviation * noise).detach()
    return x


def rounded(x: float) -> int:
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def placed(picture: torch.Tensor, top: int, left: int, height: int, width: int) -> torch.Tensor:
    canvas = torch.zeros(1, 3, height, width)
    rows, columns = picture.shape[2:]
    first, last = max(0, -top), min(rows, height - top)
    begin, end = max(0, -left), min(columns, width - left)
    part = picture[:, :, first:last, begin:end]
    canvas[:, :, top + first : top + last, left + begin : left + end] = part
    return canvas


def view(picture: torch.Tensor, stream: Stream) -> torch.Tensor:
    height, width = picture.shape[2:]
    picture = picture + 2 * stream.range(-0.5, 0.5)
    grey = picture.mean(1, keepdim=True)
    picture = (picture - grey) * stream.range(0.0, 2.0) + grey
    mean = picture.mean((1, 2, 3), keepdim=True)
    picture = (picture - mean) * stream.range(0.5, 1.5) + mean
    down = rounded(stream.range(-0.125, 0.125) * height)
    right = rounded(stream.range(-0.125, 0.125) * width)
    picture = placed(picture, down, right, height, width)
    zoom = stream.range(0.8, 1.2)
    size = [rounded(side * zoom) for side in (height, width)]
    picture = interpolate(picture, size, mode="bilinear", align_corners=False)
    picture = placed(picture, (height - size[0]) // 2, (width - size[1]) // 2, height, width)
    mask = torch.ones(1, 1, height, width)

    def hole(side: int) -> slice:
        extent, middle = rounded(side * 0.5), stream.below(side)
        return slice(max(0, middle - extent // 2), min(side, middle + (extent + 1) // 2))

    rows, columns = hole(height), hole(width)
    mask[:, :, rows, columns] = 0
    return (picture * mask).clamp(-1, 1)


def semantic(x: torch.Tensor) -> torch.Tensor:
    """The first token is a thing, the second is said of it."""
    p, q = (maps(x)[:, token].flatten() + 1e-8 for token in (0, 1))
    return 1 - p @ q / (p.norm() * q.norm())


def standardised(x: torch.Tensor) -> torch.Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / (x.std((2, 3), correction=0, keepdim=True) + 1e-5)


def dymo(run: dict, sampler: Sampler) -> torch.Tensor:
    x, before = start(1), None
    views, most = run["views"], run["most_repeats"]
    for i in range(STEPS):
        phase = "semantic" if i < 1 else "both" if i < 3 else "preference"
        repeats = k = 0
        while k <= repeats:
            if k > 0:
                x = sampler.renoise(x, i, 2 * k)
            x = x.detach().requires_grad_()
            mean, deviation, estimate, difference = sampler.look(x, i)

            def preference() -> torch.Tensor:
                picture = decode(estimate).clamp(-1, 1)
                first = 2 * most + 2 + k * views
                shown = [view(picture, Stream(SEED, SEARCH, i, first + n)) for n in range(views)]
                return -reward(torch.cat([picture, *shown])).mean()

            if phase == "semantic":
                loss = 10 * semantic(x)
            elif phase == "both":
                now, then = standardised(estimate.detach()), standardised(before)
                fades = math.exp(-((now - then).norm() / then.norm()).item())
                loss = 10 * (1 - fades) * semantic(x) + fades * preference()
            else:
                loss = preference()
            gradient = torch.autograd.grad(loss, x)[0]
            before = estimate.detach()
            length = rms(difference) * (0.2 * GUIDANCE if phase == "semantic" else 1.0)
            mean = mean - length / rms(gradient) * gradient
            if k == 0:
                rounds = run["rounds"][1 if phase == "preference" else 0]
                repeats = min(most, math.floor(rounds * gradient.norm().item()))
                print(f"dymo: step {i}, {rounds * gradient.norm().item():.3f} rounds")
            noise = drawn(i, 1) if k == 0 else search(i, 2 * k + 1)
            x = (mean + deviation * noise).detach()
            k += 1
    return x


METHODS = {
    "best-of-n": best_of_n,
    "zero-order": noise_search,
    "epsilon-greedy": noise_search,
    "das": das,
    "freedom": freedom,
    "dymo": dymo,
}


def everything(folder: Path) -> None:
    tensors = {}
    for name, run in RUNS.items():
        sampler = Sampler()
        latents = METHODS[run["name"]](run, sampler)
        tensors[f"out.{name}.latents"] = latents.detach()
        tensors[f"out.{name}.looked_at"] = torch.cat(sampler.looked)
    config = {
        "seed": SEED,
        "steps": STEPS,
        "guidance_scale": GUIDANCE,
        "prompt": PROMPT,
        "shape": SHAPE,
        "runs": RUNS,
    }
    write(folder, "test_time_small", config, "network, decoder and reward: see test_time.py", SEED, tensors)
