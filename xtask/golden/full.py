"""Makes reference files of networks of the published sizes, for `hyperalign parity`.

Random weights, run by the reference implementations in f32 on the CPU, forward only: the parts of
Stable Diffusion 1.5 at 512 pixels, FLUX.1 at its full width with one double and one single block,
and the networks of the published rewards. 14 GB on disk, and at most 9 GB of memory.
`cargo xtask golden --full DIR` runs this.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

import full_rewards
from clip import published
from golden import clock, seed, stir_norms, weights, write

UNET = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
VAE = {
    "sample_size": 512,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
FLUX = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "axes_dims_rope": [16, 56, 56],
    "guidance_embeds": True,
}
NOTES = "random weights, forward only"


def watch(model: torch.nn.Module, names: list[str]) -> dict[str, torch.Tensor]:
    taps = {}

    def keep(name):
        def hook(_module, _inputs, output):
            parts = output if isinstance(output, tuple) else (output,)
            for i, part in enumerate(parts):
                taps[f"tap.{name}.{i}" if len(parts) > 1 else f"tap.{name}"] = part

        return hook

    for name in names:
        model.get_submodule(name).register_forward_hook(keep(name))
    return taps


def text(folder: Path) -> None:
    seed(201)
    model = stir_norms(CLIPTextModel(CLIPTextConfig(**TEXT)))
    ids = torch.full((1, 77), 49407)
    ids[0, 0], ids[0, 1:20] = 49406, torch.randint(0, 49406, (19,))
    output = clock(lambda: model(ids))
    tensors = {f"w.{published(name)}": value for name, value in model.named_parameters()} | {
        "in.input_ids": ids,
        "out.last_hidden_state": output.last_hidden_state,
        "out.pooler_output": output.pooler_output,
    }
    write(folder, "clip_text_full", TEXT, NOTES, 201, tensors)


def vae(folder: Path) -> None:
    seed(202)
    model = stir_norms(AutoencoderKL(**VAE))
    image, noise = torch.rand(1, 3, 512, 512) * 2 - 1, torch.randn(1, 4, 64, 64)
    posterior = clock(lambda: model.encode(image).latent_dist)
    sample = posterior.mean + posterior.std * noise
    scaled = sample * VAE["scaling_factor"]
    decoded = clock(lambda: model.decode(scaled / VAE["scaling_factor"]).sample)
    tensors = weights(model) | {
        "in.image": image,
        "in.noise": noise,
        "out.moments": posterior.parameters,
        "out.latent_scaled": scaled,
        "out.decoded": decoded,
    }
    write(folder, "vae_full", VAE, NOTES, 202, tensors)


def unet(folder: Path) -> None:
    seed(203)
    model = stir_norms(UNet2DConditionModel(**UNET))
    taps = watch(model, ["conv_in", "mid_block", "up_blocks.1"])
    given = {
        "in.sample": torch.randn(1, 4, 64, 64),
        "in.timestep": torch.tensor([500]),
        "in.encoder_hidden_states": torch.randn(1, 77, 768),
    }
    output = clock(lambda: model(*given.values()).sample)
    tensors = weights(model) | given | taps
    tensors |= {"in.target": torch.zeros_like(output), "out.sample": output}
    write(folder, "unet_full", UNET, NOTES, 203, tensors)


def flux(folder: Path) -> None:
    seed(204)
    model = stir_norms(FluxTransformer2DModel(**FLUX))
    taps = watch(model, ["time_text_embed", "transformer_blocks.0"])
    side = 32
    given = {
        "hidden_states": torch.randn(1, side * side, 64),
        "encoder_hidden_states": torch.randn(1, 512, 4096),
        "pooled_projections": torch.randn(1, 768),
        "timestep": torch.tensor([0.5]),
        "guidance": torch.tensor([3.5]),
        "img_ids": FluxPipeline._prepare_latent_image_ids(1, side, side, "cpu", torch.float32),
        "txt_ids": torch.zeros(512, 3),
    }
    output = clock(lambda: model(**given).sample)
    tensors = weights(model) | {f"in.{name}": tensor for name, tensor in given.items()} | taps
    tensors |= {"in.target": torch.zeros_like(output), "out.sample": output}
    write(folder, "flux_full", FLUX, NOTES, 204, tensors)


PARTS = {"text": text, "vae": vae, "unet": unet, "flux": flux} | full_rewards.PARTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_grad_enabled(False)
    for part in arguments.parts or PARTS:
        print(part)
        PARTS[part](arguments.folder)


if __name__ == "__main__":
    main()
