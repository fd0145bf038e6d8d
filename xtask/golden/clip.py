"""CLIP in the layouts of transformers and of open_clip, and its preprocessing."""

from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from PIL import Image
from torchvision import transforms
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

from golden import seed, stir, weights, write

MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]

TEXT = {
    "vocab_size": 40,
    "hidden_size": 12,
    "intermediate_size": 20,
    "projection_dim": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 9,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "bos_token_id": 38,
    "eos_token_id": 7,
    "pad_token_id": 7,
}

VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "projection_dim": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 12,
    "patch_size": 4,
    "hidden_act": "gelu",
}

# As PickScore: with different activations on the two sides.
BOTH = {
    "projection_dim": 6,
    "text_config": TEXT | {"eos_token_id": 2},
    "vision_config": VISION,
}


def published(name: str) -> str:
    """transformers 5 leaves `text_model.` out of the names in memory; files have it."""
    return name if name.startswith("text_model.") else f"text_model.{name}"


def text(folder: Path) -> CLIPTextModel:
    """Pools at a token that is named and is not the highest."""
    seed(121)
    model = stir(CLIPTextModel(CLIPTextConfig(**TEXT)))
    ids = torch.tensor([[38, 4, 39, 7, 7, 7, 7, 7, 7], [38, 9, 11, 39, 3, 1, 2, 7, 7]])
    output = model(ids, output_hidden_states=True)
    tensors = {f"w.{published(name)}": value for name, value in model.named_parameters()}
    tensors |= {
        "in.input_ids": ids,
        "out.last_hidden_state": output.last_hidden_state,
        "out.pooler_output": output.pooler_output,
    }
    for i, states in enumerate(output.hidden_states):
        tensors[f"out.hidden_states.{i}"] = states
    write(folder, "clip_text_small", TEXT, "pooled at the first eos_token_id", 121, tensors)
    return model


def hugging_face(folder: Path) -> None:
    """Both sides, with different activations on them."""
    seed(122)
    model = stir(CLIPModel(CLIPConfig(**BOTH)))
    ids = torch.tensor([[38, 4, 39, 0, 0], [38, 9, 11, 3, 39], [38, 39, 0, 0, 0]])
    image = torch.randn(2, 3, 12, 12)
    output = model(input_ids=ids, pixel_values=image)
    tensors = weights(model) | {
        "in.input_ids": ids,
        "in.image": image,
        "out.text_embeds": output.text_embeds,
        "out.image_embeds": output.image_embeds,
        "out.logits_per_image": output.logits_per_image,
    }
    write(folder, "clip_hf_small", BOTH, "as PickScore", 122, tensors)


class Modulated(torch.nn.Module):
    """What a step-aware preference model puts around the vision side of a CLIP: adaLN-Zero."""

    def __init__(self, clip: CLIPModel, layers: int, dim: int) -> None:
        super().__init__()
        self.clip = clip
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(dim, 6 * dim) for _ in range(layers)])
        self.pooled = torch.nn.Linear(dim, 2 * dim)
        self.first = torch.nn.Linear(256, dim)
        self.second = torch.nn.Linear(dim, dim)

    def time(self, timesteps: torch.Tensor) -> torch.Tensor:
        frequencies = 10000.0 ** (-torch.arange(128) / 128)
        phases = timesteps[:, None] * frequencies
        waves = torch.cat([phases.cos(), phases.sin()], dim=1)
        return F.silu(self.second(F.silu(self.first(waves))))

    def features(self, image: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        vision, time = self.clip.vision_model, self.time(timesteps)
        x = vision.pre_layrnorm(vision.embeddings(image))
        for block, layer in zip(vision.encoder.layers, self.blocks):
            parts = layer(time)[:, None].chunk(6, dim=2)
            for norm, inner, (shift, scale, gate) in (
                (block.layer_norm1, lambda y: block.self_attn(y)[0], parts[:3]),
                (block.layer_norm2, block.mlp, parts[3:]),
            ):
                x = x + gate * inner(norm(x) * (1 + scale) + shift)
        shift, scale = self.pooled(time).chunk(2, dim=1)
        return self.clip.visual_projection(vision.post_layernorm(x[:, 0]) * (1 + scale) + shift)

    def published(self) -> dict[str, torch.Tensor]:
        tensors = weights(self.clip, "model.")
        parts = {"vision_model": self.pooled}
        for i, layer in enumerate(self.blocks):
            parts[f"vision_model.encoder.layers.{i}"] = layer
        for name, layer in parts.items():
            tensors |= weights(layer, f"model.{name}.adaLN_modulation.1.")
        for place, layer in ((0, self.first), (2, self.second)):
            tensors |= weights(layer, f"model.t_embedder.mlp.{place}.")
        return tensors


def step_aware(folder: Path) -> None:
    """SPO's preference model, told a timestep for each picture."""
    seed(126)
    model = stir(Modulated(CLIPModel(CLIPConfig(**BOTH)), 2, 16))
    ids = torch.tensor([[38, 4, 39, 0, 0], [38, 9, 11, 3, 39], [38, 5, 39, 0, 0]])
    image = torch.randn(3, 3, 12, 12, requires_grad=True)
    timesteps = torch.tensor([0.0, 500.0, 981.0])
    text = model.clip(input_ids=ids, pixel_values=image).text_embeds
    features = model.features(image, timesteps)
    score = (F.normalize(features, dim=-1) * text).sum(-1)
    (gradient,) = torch.autograd.grad(score.sum(), image)
    tensors = model.published() | {
        "in.input_ids": ids,
        "in.image": image,
        "in.timesteps": timesteps,
        "out.image_features": features,
        "out.score": score,
        "out.scaled": model.clip.logit_scale.exp() * score,
        "grad.in.image": gradient,
    }
    write(folder, "clip_step_aware_small", BOTH, "as SPO's preference model", 126, tensors)


def open_clip(folder: Path) -> None:
    config = {
        "embed_dim": 6,
        "vision_cfg": {"image_size": 12, "layers": 2, "width": 16, "head_width": 4, "patch_size": 4},
        "text_cfg": {"context_length": 7, "vocab_size": 40, "width": 12, "heads": 2, "layers": 1},
    }
    seed(123)
    model = stir(CLIP(**config))
    ids = torch.tensor([[38, 4, 39, 0, 0, 0, 0], [38, 9, 11, 3, 5, 6, 39]])
    image = torch.randn(2, 3, 12, 12, requires_grad=True)
    features = {"out.image_features": model.encode_image(image)}
    features["out.text_features"] = model.encode_text(ids)
    unit = {f"{name}_norm": F.normalize(value, dim=-1) for name, value in features.items()}
    score = (unit["out.image_features_norm"] * unit["out.text_features_norm"]).sum(-1)
    (gradient,) = torch.autograd.grad(score.sum(), image, retain_graph=True)
    inputs = {"in.input_ids": ids, "in.image": image}
    results = features | unit | {"out.score": score, "grad.in.image": gradient}
    results["out.pickscore_style"] = model.logit_scale.exp() * score
    tensors = weights(model) | inputs | results
    write(folder, "open_clip_small", config, "as HPSv2; exact gelu", 123, tensors)

    config["quick_gelu"] = True
    quick = CLIP(**config)
    quick.load_state_dict(model.state_dict())
    quick.eval()
    tensors = inputs | {
        "out.image_features": quick.encode_image(image),
        "out.text_features": quick.encode_text(ids),
    }
    notes = "the weights of open_clip_small, with quick_gelu"
    write(folder, "open_clip_small_quickgelu", config, notes, 123, tensors)


def preprocess(folder: Path) -> None:
    """A picture that is higher than wide, and one so wide that positions in f32 are coarse."""
    resized(folder, "clip_preprocess_small", 124, (5, 4), 10, (12, 10))
    resized(folder, "clip_preprocess_wide", 125, (1, 300), 4, (4, 301))


def resized(
    folder: Path, name: str, number: int, cells: tuple, size: int, shape: tuple
) -> None:
    seed(number)
    # Blocks of one colour, noisy: a filter has edges and texture to work on.
    blocks = torch.rand(3, *cells).repeat_interleave(5, 1).repeat_interleave(5, 2)
    picture = ((blocks + 0.2 * torch.randn_like(blocks)).clamp(0, 1) * 255).round().byte()
    exact = transforms.Compose([
        transforms.Resize(size, transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])
    pixels = picture.float().unsqueeze(0) / 255
    tensors = {
        "in.rgb_u8": picture.permute(1, 2, 0),
        "out.pil_bicubic_norm": exact(Image.fromarray(picture.permute(1, 2, 0).numpy())).unsqueeze(0),
        "out.torch_bicubic_antialias": F.interpolate(pixels, shape, mode="bicubic", antialias=True),
        "out.torch_bilinear_antialias": F.interpolate(pixels, shape, mode="bilinear", antialias=True),
        "out.torch_bicubic_noaa": F.interpolate(pixels, shape, mode="bicubic"),
    }
    config = {"size": size, "mean": MEAN, "std": STD}
    note = f"{5 * cells[0]} x {5 * cells[1]} pixels"
    write(folder, name, config, note, number, tensors)
