"""Checks that LoRA files go from diffusers to `hyperalign` and back, and mean the same there.

    python xtask/golden/lora_check.py target/release/hyperalign

For the networks of the embedded bases, PEFT makes a LoRA and diffusers saves it. `hyperalign lora
convert` writes it in other conventions and back, diffusers loads what was written, and the outputs of
the network are compared. The versions are those of requirements.txt.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

ASSETS = Path(__file__).parents[2] / "assets"
TOLERANCE = 1e-4


def stable_diffusion():
    net = UNet2DConditionModel.from_pretrained(ASSETS / "emoji-sd/unet").eval()
    size, channels = net.config.sample_size, net.config.in_channels
    given = torch.randn(1, channels, size, size), torch.tensor([300]), torch.randn(1, 8, net.config.cross_attention_dim)
    targets = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1"]
    return StableDiffusionPipeline, "unet", net, targets, lambda: net(*given).sample


def flux():
    net = FluxTransformer2DModel.from_pretrained(ASSETS / "emoji-flux/transformer").eval()
    config = net.config
    given = {
        "hidden_states": torch.randn(1, 16, config.in_channels),
        "encoder_hidden_states": torch.randn(1, 5, config.joint_attention_dim),
        "pooled_projections": torch.randn(1, config.pooled_projection_dim),
        "timestep": torch.tensor([0.4]),
        "img_ids": torch.stack([torch.zeros(16), torch.arange(16) // 4, torch.arange(16) % 4], 1),
        "txt_ids": torch.zeros(5, 3),
    }
    # Of single blocks, diffusers reads kohya's names in the published size only.
    blocks = [name for name, _ in net.named_modules() if name.startswith("transformer_blocks.")]
    ends = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "net.2")
    targets = [name for name in blocks if name.endswith(ends)]
    return FluxPipeline, "transformer", net, targets, lambda: net(**given).sample


def load(pipeline, part: str, net, path: Path) -> None:
    """As `load_lora_weights` of a whole pipeline does it."""
    options = {"unet_config": net.config} if part == "unet" else {"return_alphas": True}
    state, alphas, metadata = pipeline.lora_state_dict(path, return_lora_metadata=True, **options)
    place = {part: net, "adapter_name": path.stem, "metadata": metadata}
    getattr(pipeline, f"load_lora_into_{part}")(state, network_alphas=alphas, **place)


def check(program: str, make, base: str, folder: Path) -> None:
    pipeline, part, net, targets, run = make()
    torch.manual_seed(3)
    net.add_adapter(LoraConfig(r=4, lora_alpha=6, target_modules=targets), adapter_name="made")
    with torch.no_grad():
        for name, value in net.named_parameters():
            if ".lora_" in name:
                value.copy_(0.2 * torch.randn_like(value))
    expected = run()
    layers = get_peft_model_state_dict(net, adapter_name="made")
    config = net.peft_config["made"].to_dict()
    saved = {f"{part}_lora_layers": layers, f"{part}_lora_adapter_metadata": config}
    pipeline.save_lora_weights(folder, weight_name="diffusers.safetensors", **saved)
    net.delete_adapters("made")
    bare = run()
    for source, target, to in [
        ("diffusers", "kohya", "kohya"),
        ("kohya", "bfl", "bfl"),
        ("bfl", "peft", "peft"),
    ]:
        files = [str(folder / f"{name}.safetensors") for name in (source, target)]
        command = [program, "lora", "convert", *files, "--to", to, "--base", base]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in ("diffusers", "kohya", "peft"):
        load(pipeline, part, net, folder / f"{name}.safetensors")
        net.set_adapter(name)
        error = ((run() - expected).abs().max() / expected.abs().max()).item()
        change = ((expected - bare).abs().max() / expected.abs().max()).item()
        net.delete_adapters(name)
        print(f"{base:10}  {name:9}  {error:.1e} of an update of {change:.1e}")
        if not error < TOLERANCE < change:
            raise SystemExit("diffusers does not read what was written as it was meant")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="the program hyperalign")
    program = str(Path(parser.parse_args().program).resolve())
    torch.manual_seed(2)
    torch.set_grad_enabled(False)
    for make, base in [(stable_diffusion, "emoji-sd"), (flux, "emoji-flux")]:
        with tempfile.TemporaryDirectory() as folder:
            check(program, make, base, Path(folder))


if __name__ == "__main__":
    main()
