"""ImageReward's network and an aesthetic head.

The networks are those of transformers, given the published names: its BLIP has ImageReward's
vision transformer, and its BERT has layers with attention to a picture.
"""

from pathlib import Path

import torch
from transformers import BertConfig, BlipVisionConfig, BlipVisionModel
from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer

from golden import seed, stir, write

VISION = {"embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 12, "patch_size": 4}
BERT = {
    "vocab_size": 30,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 9,
    "layer_norm_eps": 1e-12,
    "add_cross_attention": True,
    "encoder_width": 16,
}
PLACES = [0, 2, 4, 6, 7]
MEAN, STD = 0.16717362830052426, 1.0333394966054072

VISION_NAMES = [
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("embeddings.patch_embedding", "patch_embed.proj"),
    ("encoder.layers.", "blocks."),
    ("self_attn.projection", "attn.proj"),
    ("self_attn.qkv", "attn.qkv"),
    ("layer_norm", "norm"),
    ("post_layernorm", "norm"),
]


def vision_name(name: str) -> str:
    for theirs, published in VISION_NAMES:
        name = name.replace(theirs, published)
    return name


def head(inputs: int, widths: list[int], stir) -> torch.nn.Sequential:
    sizes = [inputs, *widths]
    pairs = zip(sizes, sizes[1:])
    return stir(torch.nn.Sequential(*[torch.nn.Linear(a, b) for a, b in pairs]))


def head_weights(stack: torch.nn.Sequential, prefix: str) -> dict[str, torch.Tensor]:
    return {
        f"w.{prefix}layers.{place}.{name}": value
        for place, layer in zip(PLACES, stack)
        for name, value in layer.named_parameters()
    }


class ImageReward:
    """BLIP and a head, of any size."""

    def __init__(self, vision: dict, bert: dict, widths: list[int], stir) -> None:
        self.vision = stir(BlipVisionModel(BlipVisionConfig(
            hidden_size=vision["embed_dim"],
            intermediate_size=4 * vision["embed_dim"],
            num_hidden_layers=vision["depth"],
            num_attention_heads=vision["num_heads"],
            image_size=vision["img_size"],
            patch_size=vision["patch_size"],
            layer_norm_eps=1e-6,
            hidden_act="gelu",
        )))
        sizes = {name: value for name, value in bert.items() if name != "encoder_width"}
        config = BertConfig(**sizes, is_decoder=True, attn_implementation="eager")
        self.embeddings = stir(BertEmbeddings(config))
        # The published network has no kinds of tokens.
        torch.nn.init.zeros_(self.embeddings.token_type_embeddings.weight)
        self.layers = [BertLayer(config) for _ in range(bert["num_hidden_layers"])]
        wide, narrow = bert["encoder_width"], bert["hidden_size"]
        for layer in self.layers:
            # Pictures are wider than texts.
            for part in ("key", "value"):
                setattr(layer.crossattention.self, part, torch.nn.Linear(wide, narrow))
            stir(layer)
        self.stack = head(narrow, widths, stir)

    def weights(self) -> dict[str, torch.Tensor]:
        tensors = head_weights(self.stack, "mlp.")
        for name, value in self.vision.named_parameters():
            tensors[f"w.blip.visual_encoder.{vision_name(name)}"] = value
        text = "w.blip.text_encoder"
        for name, value in self.embeddings.named_parameters():
            if not name.startswith("token_type"):
                tensors[f"{text}.embeddings.{name}"] = value
        for i, layer in enumerate(self.layers):
            for name, value in layer.named_parameters():
                tensors[f"{text}.encoder.layer.{i}.{name}"] = value
        return tensors

    def __call__(self, ids: torch.Tensor, image: torch.Tensor) -> dict[str, torch.Tensor]:
        mask = (ids != 0).long()
        seen = self.vision(pixel_values=image).last_hidden_state
        bias = (1.0 - mask[:, None, None, :]) * -10000.0
        nothing = torch.zeros(len(ids), 1, 1, seen.shape[1])
        states = self.embeddings(input_ids=ids)
        for layer in self.layers:
            states = layer(
                states,
                attention_mask=bias,
                encoder_hidden_states=seen,
                encoder_attention_mask=nothing,
            )
            states = states[0] if isinstance(states, tuple) else states
        raw = self.stack(states[:, 0])
        return {
            "in.input_ids": ids,
            "in.attention_mask": mask,
            "in.image": image,
            "out.image_embeds": seen,
            "out.last_hidden_state": states,
            "out.reward_raw": raw,
            "out.reward": (raw - MEAN) / STD,
        }


def image_reward(folder: Path) -> None:
    seed(131)
    model = ImageReward(VISION, BERT, [7, 6, 5, 4, 1], stir)
    ids = torch.tensor([[28, 4, 9, 29, 0, 0], [28, 7, 3, 11, 2, 29]])
    image = torch.randn(2, 3, 12, 12, requires_grad=True)
    results = model(ids, image)
    (gradient,) = torch.autograd.grad(results["out.reward"].sum(), image)
    tensors = model.weights() | results | {"grad.in.image": gradient}
    sizes = {"vision": VISION, "bert": BERT}
    write(folder, "blip_reward_small", sizes, "as ImageReward; a narrow head", 131, tensors)


def aesthetic(folder: Path) -> None:
    seed(132)
    stack = head(6, [7, 6, 5, 4, 1], stir)
    embedding = torch.randn(3, 6)
    unit = torch.nn.functional.normalize(embedding, dim=-1).requires_grad_()
    score = stack(unit).squeeze(-1)
    (gradient,) = torch.autograd.grad(score.sum(), unit)
    tensors = head_weights(stack, "") | {
        "in.embedding": embedding,
        "out.stack": score,
        "grad.in.embedding_norm": gradient,
    }
    write(folder, "aesthetic_small", {}, "five layers, which are one", 132, tensors)
