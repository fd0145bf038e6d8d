"""The solvers beside DDIM: trajectories under a made-up network, and their noise levels."""

from pathlib import Path

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSDEScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from diffusion import SCHEDULE, made_up
from golden import seed, write

CLASSES = [
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSDEScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
]
BETAS = {
    name: SCHEDULE[name]
    for name in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "steps_offset")
}
SMALL = BETAS | {"clip_sample": False}
V = {"prediction_type": "v_prediction"}
KARRAS = {"use_karras_sigmas": True}
PLMS = BETAS | {"skip_prk_steps": True}
FLUX = {"shift": 3.0, "use_dynamic_shifting": True}

RUNS = {
    "ddpm": ("DDPMScheduler", SMALL, 5),
    "ddpm_large_linspace": (
        "DDPMScheduler",
        SMALL | {"variance_type": "fixed_large", "timestep_spacing": "linspace"},
        6,
    ),
    "pndm": ("PNDMScheduler", PLMS, 7),
    "pndm_vpred_trailing": (
        "PNDMScheduler",
        PLMS | V | {"timestep_spacing": "trailing", "set_alpha_to_one": True},
        5,
    ),
    "euler": ("EulerDiscreteScheduler", BETAS, 6),
    "euler_leading": ("EulerDiscreteScheduler", BETAS | {"timestep_spacing": "leading"}, 4),
    "euler_karras_vpred": ("EulerDiscreteScheduler", BETAS | KARRAS | V, 5),
    "euler_a": ("EulerAncestralDiscreteScheduler", BETAS, 5),
    "euler_a_trailing_vpred": (
        "EulerAncestralDiscreteScheduler",
        BETAS | V | {"timestep_spacing": "trailing"},
        4,
    ),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", BETAS, 6),
    "dpmpp_2m_leading_vpred": (
        "DPMSolverMultistepScheduler",
        BETAS | V | {"timestep_spacing": "leading"},
        5,
    ),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", BETAS | KARRAS, 6),
    "flow_seq64": ("FlowMatchEulerDiscreteScheduler", FLUX, 5),
    "flow_shifted": ("FlowMatchEulerDiscreteScheduler", {"shift": 2.0}, 4),
}

UNIPC_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
TRAILING = {"timestep_spacing": "trailing"}

# Two evaluations a step, or a correction by the next one.
CORRECTED = {
    "heun": ("HeunDiscreteScheduler", BETAS, 4),
    "heun_leading_vpred": (
        "HeunDiscreteScheduler",
        BETAS | V | {"timestep_spacing": "leading"},
        3,
    ),
    "heun_karras": ("HeunDiscreteScheduler", BETAS | KARRAS, 4),
    "unipc": ("UniPCMultistepScheduler", BETAS, 6),
    "unipc_trailing_vpred": ("UniPCMultistepScheduler", BETAS | V | TRAILING, 5),
    "unipc_karras": (
        "UniPCMultistepScheduler",
        BETAS | KARRAS | {"solver_type": "midpoint"},
        6,
    ),
    "dpmpp_sde": ("DPMSolverSDEScheduler", BETAS, 4),
    "dpmpp_sde_leading_vpred": (
        "DPMSolverSDEScheduler",
        BETAS | V | {"timestep_spacing": "leading"},
        3,
    ),
    "dpmpp_sde_karras": ("DPMSolverSDEScheduler", BETAS | KARRAS, 4),
    "flow_heun": ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}, 4),
    "flow_unipc": ("UniPCMultistepScheduler", UNIPC_FLOW | {"flow_shift": 3.0}, 5),
    "flow_unipc_seq64": (
        "UniPCMultistepScheduler",
        UNIPC_FLOW | {"use_dynamic_shifting": True},
        5,
    ),
}
ZERO_SNR = BETAS | V | TRAILING | {"rescale_betas_zero_snr": True}
# Solvers whose samples keep their scale: that of Euler's starts at 4096 times the picture's, where
# single precision leaves nothing to compare.
RESCALED = {
    "ddim": ("DDIMScheduler", ZERO_SNR | {"clip_sample": False, "set_alpha_to_one": False}, 4),
    "ddpm": ("DDPMScheduler", ZERO_SNR | {"clip_sample": False}, 4),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", ZERO_SNR, 4),
    "unipc": ("UniPCMultistepScheduler", ZERO_SNR, 5),
}


def everything(folder: Path) -> None:
    trajectories(folder, "schedulers_small", RUNS, 106)
    trajectories(folder, "schedulers_corrected", CORRECTED, 107)
    scheduler = DPMSolverMultistepScheduler(**ZERO_SNR)
    alphas = {"out.alphas_cumprod": scheduler.alphas_cumprod}
    trajectories(folder, "schedulers_zero_snr", RESCALED, 108, alphas)


def trajectories(folder: Path, stem: str, runs: dict, value: int, more: dict = {}) -> None:
    seed(value)
    classes = {cls.__name__: cls for cls in CLASSES}
    unit = torch.randn(1, 2, 3, 3)
    tensors, configs = {"in.x_T_unit": unit} | more, {}
    for name, (cls, config, steps) in runs.items():
        configs[name] = {"cls": cls, "config": config, "steps": steps}
        scheduler = classes[cls](**config)
        results = {}
        flow = cls.startswith("FlowMatch") or config.get("use_flow_sigmas", False)
        sigma = 1.0
        tokens = 64
        slope = (1.15 - 0.5) / (4096 - 256)
        mu = 0.5 + slope * (tokens - 256)
        if config.get("use_dynamic_shifting"):
            results["mu"] = torch.tensor(mu, dtype=torch.float64)
        if cls == "FlowMatchEulerDiscreteScheduler":
            # As the pipeline of FLUX calls it.
            levels = torch.linspace(1, 1 / steps, steps).tolist()
            scheduler.set_timesteps(sigmas=levels, mu=mu)
        elif cls == "UniPCMultistepScheduler":
            scheduler.set_timesteps(steps, mu=mu)
        else:
            scheduler.set_timesteps(steps)
        if not flow:
            sigma = float(scheduler.init_noise_sigma)
            results["init_noise_sigma"] = torch.tensor(sigma)
        timesteps = scheduler.timesteps.float()
        if flow and cls == "UniPCMultistepScheduler":
            # The class cuts a flow's times to whole numbers for the network, and steps by sigmas.
            timesteps = scheduler.sigmas[:-1] * 1000
        x = unit * sigma
        trajectory = [x]
        drawn = []
        if cls == "DPMSolverSDEScheduler":
            scheduler.noise_sampler = BrownianPath(drawn)
        for k, (t, told) in enumerate(zip(scheduler.timesteps, timesteps)):
            scaled = x if flow else scheduler.scale_model_input(x, t)
            output = made_up(scaled, k, told if flow else t)
            # These two draw from the generator of the moment, and take no noise from outside.
            if cls in ("DDPMScheduler", "EulerAncestralDiscreteScheduler"):
                torch.manual_seed(1000 + k)
                drawn.append(torch.randn(1, 2, 3, 3))
                torch.manual_seed(1000 + k)
            x = scheduler.step(output, t, x).prev_sample
            trajectory.append(x)
        if cls == "DPMSolverSDEScheduler":
            # The last step draws nothing.
            drawn.append(torch.zeros(1, 2, 3, 3))
        if drawn:
            tensors[f"in.{name}.noise"] = torch.stack(drawn)
        results["timesteps"] = timesteps
        results["trajectory"] = torch.stack(trajectory)
        # Midpoints are no sigmas of that class, and the first two have none.
        if cls not in ("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "DPMSolverSDEScheduler"):
            results["sigmas"] = scheduler.sigmas.float()
        tensors |= {f"out.{name}.{key}": value for key, value in results.items()}
    write(folder, stem, configs, "answer k: see made_up", value, tensors)


class BrownianPath:
    """Increments of one path in sigma, over their deviation, as the scheduler's own sampler gives
    them: to a midpoint, and from the same start past it to the end of the step.

    What is noted is what the path is made of: an independent normal number for each of its parts.
    """

    def __init__(self, drawn: list) -> None:
        self.drawn = drawn
        self.middle = None

    def __call__(self, sigma: float, sigma_next: float) -> torch.Tensor:
        torch.manual_seed(1000 + len(self.drawn))
        self.drawn.append(torch.randn(1, 2, 3, 3))
        if self.middle is None:
            self.middle = sigma_next
            return self.drawn[-1]
        first = (sigma - self.middle) ** 0.5 * self.drawn[-2]
        second = (self.middle - sigma_next) ** 0.5 * self.drawn[-1]
        self.middle = None
        return (first + second) / (sigma - sigma_next) ** 0.5
