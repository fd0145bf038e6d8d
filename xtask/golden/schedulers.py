"""The solvers beside DDIM: trajectories under a made-up network, and their noise levels."""

from pathlib import Path

import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

from diffusion import SCHEDULE, made_up
from golden import seed, write

CLASSES = [
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
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


def everything(folder: Path) -> None:
    seed(106)
    classes = {cls.__name__: cls for cls in CLASSES}
    unit = torch.randn(1, 2, 3, 3)
    tensors, configs = {"in.x_T_unit": unit}, {}
    for name, (cls, config, steps) in RUNS.items():
        configs[name] = {"cls": cls, "config": config, "steps": steps}
        scheduler = classes[cls](**config)
        results = {}
        if cls == "FlowMatchEulerDiscreteScheduler":
            # As the pipeline of FLUX calls it.
            levels = torch.linspace(1, 1 / steps, steps).tolist()
            tokens = 64
            slope = (1.15 - 0.5) / (4096 - 256)
            mu = 0.5 + slope * (tokens - 256)
            scheduler.set_timesteps(sigmas=levels, mu=mu)
            if config.get("use_dynamic_shifting"):
                results["mu"] = torch.tensor(mu, dtype=torch.float64)
            sigma = 1.0
        else:
            scheduler.set_timesteps(steps)
            sigma = float(scheduler.init_noise_sigma)
            results["init_noise_sigma"] = torch.tensor(sigma)
        x = unit * sigma
        trajectory = [x]
        drawn = []
        for k, t in enumerate(scheduler.timesteps):
            scaled = x
            if cls != "FlowMatchEulerDiscreteScheduler":
                scaled = scheduler.scale_model_input(x, t)
            output = made_up(scaled, k, t)
            # These two draw from the generator of the moment, and take no noise from outside.
            if cls in ("DDPMScheduler", "EulerAncestralDiscreteScheduler"):
                torch.manual_seed(1000 + k)
                drawn.append(torch.randn(1, 2, 3, 3))
                torch.manual_seed(1000 + k)
            x = scheduler.step(output, t, x).prev_sample
            trajectory.append(x)
        if drawn:
            tensors[f"in.{name}.noise"] = torch.stack(drawn)
        results["timesteps"] = scheduler.timesteps.float()
        results["trajectory"] = torch.stack(trajectory)
        if cls not in ("DDPMScheduler", "PNDMScheduler"):
            results["sigmas"] = scheduler.sigmas.float()
        tensors |= {f"out.{name}.{key}": value for key, value in results.items()}
    write(folder, "schedulers_small", configs, "answer k: see made_up", 106, tensors)
