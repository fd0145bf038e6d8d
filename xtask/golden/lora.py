"""One LoRA in the conventions of PEFT, of kohya's sd-scripts, and of Black Forest Labs.

The adapted networks are those of diffusion.py, flux.py and clip.py; PEFT runs them. Every linear
layer and convolution has an update. The names of the other conventions are written down here a second
time, apart from the program's: kohya's are paths with underscores, those of FLUX.1 the authors' paths,
in which queries, keys and values (and in a single block the way up of the MLP) are one module.
"""

import copy
import json
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig

import clip
import diffusion
import flux
from golden import seed, stir, write

RANK, ALPHA = 2, 3
DOUBLE = {
    "img_mod.lin": ["norm1.linear"],
    "txt_mod.lin": ["norm1_context.linear"],
    "img_attn.qkv": ["attn.to_q", "attn.to_k", "attn.to_v"],
    "txt_attn.qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    "img_attn.proj": ["attn.to_out.0"],
    "txt_attn.proj": ["attn.to_add_out"],
    "img_mlp.0": ["ff.net.0.proj"],
    "img_mlp.2": ["ff.net.2"],
    "txt_mlp.0": ["ff_context.net.0.proj"],
    "txt_mlp.2": ["ff_context.net.2"],
}
SINGLE = {
    "modulation.lin": ["norm.linear"],
    "linear1": ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"],
    "linear2": ["proj_out"],
}
AROUND = {
    "img_in": ["x_embedder"],
    "txt_in": ["context_embedder"],
    "time_in.in_layer": ["time_text_embed.timestep_embedder.linear_1"],
    "time_in.out_layer": ["time_text_embed.timestep_embedder.linear_2"],
    "guidance_in.in_layer": ["time_text_embed.guidance_embedder.linear_1"],
    "guidance_in.out_layer": ["time_text_embed.guidance_embedder.linear_2"],
    "vector_in.in_layer": ["time_text_embed.text_embedder.linear_1"],
    "vector_in.out_layer": ["time_text_embed.text_embedder.linear_2"],
    "final_layer.linear": ["proj_out"],
    # The authors store (shift, scale), diffusers (scale, shift).
    "final_layer.adaLN_modulation.1": ["norm_out.linear"],
}


def layers(model: torch.nn.Module) -> list[str]:
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return [name for name, module in model.named_modules() if isinstance(module, kinds)]


def adapted(model: torch.nn.Module, targets: list[str]) -> torch.nn.Module:
    model = copy.deepcopy(model)
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".lora_" in name:
                value.copy_(0.3 * torch.randn_like(value))
    return model.eval()


def factors(model: torch.nn.Module, targets: list[str]) -> dict[str, tuple]:
    found = {}
    for path in targets:
        layer = model.get_submodule(path)
        found[path] = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
    return found


def peft(found: dict, part: str) -> dict[str, torch.Tensor]:
    tensors = {}
    for path, (down, up) in found.items():
        tensors |= {f"peft.{part}.{path}.lora_A.weight": down, f"peft.{part}.{path}.lora_B.weight": up}
    return tensors


def kohya(name: str, down, up, alpha: float) -> dict[str, torch.Tensor]:
    name = f"kohya.{name.replace('.', '_')}"
    return {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up,
        f"{name}.alpha": torch.tensor(float(alpha)),
    }


def merged(model: torch.nn.Module, paths: list[str]) -> dict[str, torch.Tensor]:
    def weight(path):
        layer = model.get_submodule(path)
        return layer.base_layer.weight + layer.get_delta_weight("default")

    return {f"out.merged.{path}.weight": weight(path) for path in paths}


def header(part: str, targets: list[str]) -> dict:
    settings = {"r": RANK, "lora_alpha": ALPHA, "target_modules": targets}
    text = json.dumps({f"{part}.{name}": value for name, value in settings.items()})
    return {"r": RANK, "alpha": ALPHA, "peft_file_header": {"lora_adapter_metadata": text}}


def without_alpha(model: torch.nn.Module, predict) -> torch.Tensor:
    """A file without alpha has that of its rank, a scale of 1."""
    for module in model.modules():
        if hasattr(module, "scaling") and "default" in module.scaling:
            module.scaling["default"] = 1.0
    return predict(model)


def unet(folder: Path, base: torch.nn.Module) -> None:
    seed(131)
    given = {name: value for name, value in diffusion.inputs().items() if name != "in.target"}
    targets = layers(base)
    model = adapted(base, targets)
    found = factors(model, targets)
    tensors = given | peft(found, "unet")
    for path, (down, up) in found.items():
        tensors |= kohya(f"lora_unet_{path}", down, up, ALPHA)
    tensors |= merged(model, ["conv_in", "down_blocks.0.downsamplers.0.conv", "time_embedding.linear_2"])
    predict = lambda net: diffusion.predict(net, given)  # noqa: E731
    tensors |= {"out.sample_base": predict(base), "out.sample": predict(model)}
    tensors["out.sample_peft_no_alpha"] = without_alpha(model, predict)
    config = diffusion.UNET | {"lora": header("unet", targets)}
    write(folder, "lora_formats_unet_small", config, "base weights: unet_small", 131, tensors)


def text(folder: Path, base: torch.nn.Module, config: dict) -> None:
    seed(132)
    ids = torch.randint(0, config["vocab_size"], (2, 7))
    targets = layers(base)
    model = adapted(base, targets)
    found = factors(model, targets)
    tensors = {"in.input_ids": ids}
    for path, (down, up) in found.items():
        path = clip.published(path)
        tensors |= peft({path: (down, up)}, "text_encoder")
        tensors |= kohya(f"lora_te_{path}", down, up, ALPHA)
    predict = lambda net: net(ids).last_hidden_state  # noqa: E731
    tensors |= {"out.sample_base": predict(base), "out.sample": predict(model)}
    tensors["out.sample_peft_no_alpha"] = without_alpha(model, predict)
    config = config | {"lora": header("text_encoder", [])}
    write(folder, "lora_formats_clip_small", config, "base weights: clip_text_small", 132, tensors)


def modules(config: dict) -> dict[str, list[str]]:
    """The authors' modules, with the layers that each is made of."""
    found = dict(AROUND)
    for i in range(config["num_layers"]):
        for theirs, ours in DOUBLE.items():
            found[f"double_blocks.{i}.{theirs}"] = [f"transformer_blocks.{i}.{path}" for path in ours]
    for i in range(config["num_single_layers"]):
        for theirs, ours in SINGLE.items():
            found[f"single_blocks.{i}.{theirs}"] = [f"single_transformer_blocks.{i}.{path}" for path in ours]
    return found


def transformer(folder: Path) -> None:
    # The network of flux_small.
    seed(111)
    config = flux.FLUX | {"guidance_embeds": True}
    base = stir(FluxTransformer2DModel(**config))
    seed(133)
    rows, columns, tokens = 3, 2, 5
    given = {
        "in.hidden_states": torch.randn(2, rows * columns, 12),
        "in.encoder_hidden_states": torch.randn(2, tokens, 10),
        "in.pooled_projections": torch.randn(2, 14),
        "in.timestep": torch.tensor([0.83, 0.12]),
        "in.img_ids": torch.randint(0, 3, (rows * columns, 3)).float(),
        "in.txt_ids": torch.zeros(tokens, 3),
        "in.guidance": torch.tensor([3.5, 1.0]),
    }
    targets = layers(base)
    model = adapted(base, targets)
    found = factors(model, targets)
    tensors = dict(given)
    for theirs, ours in modules(config).items():
        # Of the fused modules, those of the second block share their factor next to the input.
        if len(ours) > 1 and ".0." not in theirs:
            with torch.no_grad():
                for path in ours[1:]:
                    found[path][0].copy_(found[ours[0]][0])
        parts = [found[path] for path in ours]
        alpha = ALPHA
        if len(ours) == 1:
            down, up = parts[0]
            if theirs == "final_layer.adaLN_modulation.1":
                up = torch.cat(up.chunk(2)[::-1])
        elif ".0." not in theirs:
            down, up = parts[0][0], torch.cat([up for _, up in parts])
        else:
            down, up = torch.cat([down for down, _ in parts]), torch.block_diag(*[up for _, up in parts])
            alpha = ALPHA * len(parts)
        tensors |= kohya(f"lora_unet_{theirs}", down, up, alpha)
        name = f"bfl.diffusion_model.{theirs}"
        scalar = torch.tensor(float(alpha))
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, f"{name}.alpha": scalar}
    tensors |= peft(found, "transformer")
    tensors |= merged(model, ["norm_out.linear", "single_transformer_blocks.0.proj_mlp", "x_embedder"])
    inputs = {name.removeprefix("in."): value for name, value in given.items()}
    predict = lambda net: net(**inputs).sample  # noqa: E731
    tensors |= {"out.sample_base": predict(base), "out.sample": predict(model)}
    tensors["out.sample_peft_no_alpha"] = without_alpha(model, predict)
    config = config | {"lora": header("transformer", targets)}
    write(folder, "lora_formats_flux_small", config, "base weights: flux_small", 133, tensors)


def everything(folder: Path, net: torch.nn.Module, encoder: torch.nn.Module, config: dict) -> None:
    unet(folder, net)
    text(folder, encoder, config)
    transformer(folder)
