"""The U-Net (bare and with LoRA), the autoencoder, DDIM, and all of them together."""

import copy
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from peft import LoraConfig

from golden import seed, stir, weights, write

UNET = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [8, 12, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
}
VAE = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 3,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [6, 9],
    "layers_per_block": 1,
    "norm_num_groups": 3,
    "scaling_factor": 0.7,
}
SCHEDULE = {
    "num_train_timesteps": 60,
    "beta_start": 0.002,
    "beta_end": 0.1,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]

# Modules whose results are stored, and weights whose gradients are.
TAPS = ["conv_in", "time_proj", "time_embedding", "down_blocks.1", "mid_block", "up_blocks.0"]
TAPS += [f"down_blocks.1.attentions.0.transformer_blocks.0{part}" for part in ("", ".attn1", ".attn2", ".ff")]
GRADIENTS = [
    "conv_in.weight",
    "time_embedding.linear_1.weight",
    "down_blocks.0.resnets.0.norm1.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.weight",
    "up_blocks.2.attentions.1.transformer_blocks.0.ff.net.0.proj.bias",
]


def inputs() -> dict[str, torch.Tensor]:
    return {
        "in.sample": torch.randn(2, 3, 8, 8),
        "in.timestep": torch.tensor([7, 811]),
        "in.encoder_hidden_states": torch.randn(2, 5, 12),
        "in.target": torch.randn(2, 3, 8, 8),
    }


def predict(model: torch.nn.Module, given: dict) -> torch.Tensor:
    return model(given["in.sample"], given["in.timestep"], given["in.encoder_hidden_states"]).sample


def unet(folder: Path) -> UNet2DConditionModel:
    seed(101)
    model = stir(UNet2DConditionModel(**UNET))
    given = inputs()
    for name in ("in.sample", "in.encoder_hidden_states"):
        given[name].requires_grad_()
    taps = {}

    def keep(name):
        def hook(_module, _inputs, output):
            taps[f"tap.{name}"] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in TAPS]
    output = predict(model, given)
    for handle in handles:
        handle.remove()
    loss = (output - given["in.target"]).square().mean()
    loss.backward()
    gradients = {f"grad.w.{name}": model.get_parameter(name).grad for name in GRADIENTS}
    for name in ("in.sample", "in.encoder_hidden_states"):
        gradients[f"grad.{name}"] = given[name].grad
    results = {"out.sample": output, "out.mse_loss": loss}
    tensors = weights(model) | given | taps | gradients | results
    write(folder, "unet_small", UNET, "loss = mean((y - target)^2)", 101, tensors)
    model.zero_grad()
    return model


def unet_lora(folder: Path, base: UNet2DConditionModel) -> None:
    seed(102)
    given = inputs()
    rank, alpha = 2, 3
    tensors = dict(given) | {"out.sample_base": predict(base, given)}
    model = copy.deepcopy(base)
    model.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS))
    factors = {name: value for name, value in model.named_parameters() if ".lora_" in name}
    with torch.no_grad():
        for value in factors.values():
            value.copy_(0.3 * torch.randn_like(value))
    output = predict(model.eval(), given)
    loss = (output - given["in.target"]).square().mean()
    loss.backward()
    for name, value in factors.items():
        name = name.replace(".default.", ".")
        tensors |= {f"lora.{name}": value, f"grad.lora.{name}": value.grad}
    merged = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
    layer = model.get_submodule(merged)
    weight = layer.base_layer.weight + layer.get_delta_weight("default")
    tensors |= {f"out.merged.{merged}.weight": weight, "out.sample": output, "out.mse_loss": loss}
    config = UNET | {"lora": {"r": rank, "alpha": alpha, "targets": TARGETS}}
    write(folder, "unet_lora_small", config, "base weights: unet_small", 102, tensors)


def vae(folder: Path) -> AutoencoderKL:
    seed(103)
    model = stir(AutoencoderKL(**VAE))
    image, noise = torch.rand(1, 3, 16, 16) * 2 - 1, torch.randn(1, 3, 8, 8)
    posterior = model.encode(image).latent_dist
    sample = posterior.mean + posterior.std * noise
    scaled = (sample * VAE["scaling_factor"]).detach().requires_grad_()
    decoded = model.decode(scaled / VAE["scaling_factor"]).sample
    loss = decoded.clamp(-1, 1).mean() + decoded.square().mean()
    (gradient,) = torch.autograd.grad(loss, scaled)
    tensors = weights(model) | {
        "in.image": image,
        "in.noise": noise,
        "out.moments": posterior.parameters,
        "out.mean": posterior.mean,
        "out.logvar": posterior.logvar,
        "out.std": posterior.std,
        "out.latent_sample": sample,
        "out.latent_scaled": scaled,
        "out.decoded": decoded,
        "out.loss": loss,
        "grad.in.latent_scaled": gradient,
    }
    write(folder, "vae_sd_small", VAE, "loss = mean(clamp(y, -1, 1)) + mean(y^2)", 103, tensors)
    return model


def timestep_embedding(folder: Path) -> None:
    t = torch.tensor([0.0, 1.0, 17.0, 999.0])
    sd = {"flip_sin_to_cos": True, "downscale_freq_shift": 0}
    ddpm = {"flip_sin_to_cos": False, "downscale_freq_shift": 1}
    tensors = {
        "in.t": t,
        "out.sd_20": get_timestep_embedding(t, 20, **sd),
        "out.odd_7": get_timestep_embedding(t, 7, **sd),
        "out.ddpm_12_noflip_shift1": get_timestep_embedding(t, 12, **ddpm),
    }
    write(folder, "timestep_embedding_small", {}, "", 0, tensors)


def made_up(x: torch.Tensor, k: int, t: torch.Tensor) -> torch.Tensor:
    return 0.35 * x + 0.1 * torch.sin(3 * x + k) + 0.05 * torch.cos(t / 100)


def ddim(folder: Path) -> None:
    seed(104)
    trailing = {"timestep_spacing": "trailing", "set_alpha_to_one": True, "steps_offset": 0}
    runs = {
        "ddim": (SCHEDULE, 7, 0.0),
        "ddim_eta": (SCHEDULE, 6, 0.6),
        "ddim_vpred": (SCHEDULE | {"prediction_type": "v_prediction"}, 5, 0.0),
        "ddim_trailing": (SCHEDULE | trailing, 4, 0.0),
    }
    unit = torch.randn(1, 2, 3, 3)
    tensors, configs = {"in.x_T_unit": unit}, {}
    for name, (config, steps, eta) in runs.items():
        configs[name] = {"cls": "DDIMScheduler", "config": config, "steps": steps, "eta": eta}
        scheduler = DDIMScheduler(**config)
        scheduler.set_timesteps(steps)
        noise = torch.randn(steps, 1, 2, 3, 3)
        x = unit * scheduler.init_noise_sigma
        trajectory = [x]
        for k, t in enumerate(scheduler.timesteps):
            given = {"eta": eta, "variance_noise": noise[k]} if eta else {"eta": eta}
            x = scheduler.step(made_up(x, k, t), t, x, **given).prev_sample
            trajectory.append(x)
        if eta:
            tensors[f"in.{name}.noise"] = noise
        tensors |= {
            f"out.{name}.timesteps": scheduler.timesteps.float(),
            f"out.{name}.init_noise_sigma": torch.tensor(float(scheduler.init_noise_sigma)),
            f"out.{name}.trajectory": torch.stack(trajectory),
        }
    tensors["out.alphas_cumprod"] = scheduler.alphas_cumprod
    half, t = torch.full_like(unit, 0.5), torch.tensor([20])
    tensors["out.ddim.add_noise_t20"] = scheduler.add_noise(unit, half, t)
    write(folder, "schedulers_ddim", configs, "answer k: see made_up", 104, tensors)


def pipeline(folder: Path, text, text_config: dict, net: UNet2DConditionModel, codec) -> None:
    seed(105)
    guidance_scale, steps = 3.5, 4
    ids = torch.tensor([[38, 7, 7, 7, 7, 7, 7, 7, 7], [38, 5, 31, 12, 7, 7, 7, 7, 7]])
    states = text(ids).last_hidden_state
    scheduler = DDIMScheduler(**SCHEDULE)
    scheduler.set_timesteps(steps)
    start = x = torch.randn(1, 3, 8, 8)
    outputs, trajectory = [], [x]
    for t in scheduler.timesteps:
        plain, prompted = net(torch.cat([x, x]), t, states).sample.chunk(2)
        outputs.append(plain + guidance_scale * (prompted - plain))
        x = scheduler.step(outputs[-1], t, x, eta=0.0).prev_sample
        trajectory.append(x)
    image = codec.decode(x / VAE["scaling_factor"]).sample
    pixels = ((image / 2 + 0.5).clamp(0, 1) * 255).round().byte()
    config = {
        "clip": text_config,
        "unet": UNET,
        "vae": VAE,
        "scheduler": SCHEDULE,
        "cfg": guidance_scale,
        "steps": steps,
    }
    tensors = {
        "in.input_ids": ids,
        "in.x_T": start,
        "out.timesteps": scheduler.timesteps,
        "out.text_states": states,
        "out.noise_pred": torch.stack(outputs),
        "out.trajectory": torch.stack(trajectory),
        "out.image": image,
        "out.image_u8": pixels,
    }
    notes = "weights: clip_text_small, unet_small, vae_sd_small; row 0 is unconditional"
    write(folder, "pipeline_sd_small", config, notes, 105, tensors)
