"""The networks of the published rewards at their full sizes, with random weights, forward only."""

from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from transformers import CLIPConfig, CLIPModel

import detector
from golden import clock, seed, stir_norms, weights, write
from rewards import ImageReward

CLIP_L = {
    "projection_dim": 768,
    "text_config": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "eos_token_id": 2,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "projection_dim": 768,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
}
VISION = {"embed_dim": 1024, "depth": 24, "num_heads": 16, "img_size": 224, "patch_size": 16}
BERT = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "layer_norm_eps": 1e-12,
    "add_cross_attention": True,
    "encoder_width": 1024,
}
NOTES = "random weights, forward only"


def clip_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Two texts of different lengths, which end at the highest id, and two pictures."""
    ids = torch.zeros(2, 77, dtype=torch.long)
    for row, length in zip(ids, [9, 76]):
        row[0], row[length] = 49406, 49407
        row[1:length] = torch.randint(1, 49406, (length - 1,))
    return ids, torch.randn(2, 3, 224, 224)


def redraw(model: torch.nn.Module) -> torch.nn.Module:
    """Gives matrices the spread that fits their width: transformers starts BLIP's picture encoder
    at 1e-10, and a comparison would see nothing of it."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return stir_norms(model)


def vit_h(folder: Path) -> None:
    """HPSv2 as open_clip has it; the same network is PickScore's."""
    seed(211)
    config = open_clip.get_model_config("ViT-H-14")
    model = stir_norms(CLIP(**config))
    ids, image = clip_inputs()
    features = clock(lambda: {
        "out.image_features": model.encode_image(image),
        "out.text_features": model.encode_text(ids),
    })
    unit = {f"{name}_norm": F.normalize(value, dim=-1) for name, value in features.items()}
    score = (unit["out.image_features_norm"] * unit["out.text_features_norm"]).sum(-1)
    tensors = weights(model) | {"in.input_ids": ids, "in.image": image} | features | unit
    write(folder, "open_clip_full", config, NOTES, 211, tensors | {"out.score": score})


def clip_l(folder: Path) -> None:
    """OpenAI's CLIP as transformers has it: of the CLIP score and the aesthetic heads."""
    seed(212)
    model = stir_norms(CLIPModel(CLIPConfig(**CLIP_L)))
    ids, image = clip_inputs()
    output = clock(lambda: model(input_ids=ids, pixel_values=image))
    tensors = weights(model) | {
        "in.input_ids": ids,
        "in.image": image,
        "out.text_embeds": output.text_embeds,
        "out.image_embeds": output.image_embeds,
        "out.logits_per_image": output.logits_per_image,
    }
    write(folder, "clip_hf_full", CLIP_L, NOTES, 212, tensors)


def image_reward(folder: Path) -> None:
    seed(213)
    model = ImageReward(VISION, BERT, [1024, 128, 64, 16, 1], redraw)
    ids = torch.randint(1000, 30522, (2, 35))
    ids[0, 12:] = 0
    image = torch.randn(2, 3, 224, 224)
    results = clock(lambda: model(ids, image))
    sizes = {"vision": VISION, "bert": BERT}
    write(folder, "blip_reward_full", sizes, NOTES, 213, model.weights() | results)


def mask2former(folder: Path) -> None:
    """The detector of GenEval's scorer, over Swin-S with COCO's 80 classes."""
    seed(214)
    swin = detector.SWIN | {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24],
                            "window_size": 7, "mlp_ratio": 4.0, "image_size": 224}
    sizes = {"feature_size": 256, "mask_feature_size": 256, "hidden_dim": 256,
             "encoder_feedforward_dim": 1024, "encoder_layers": 6, "decoder_layers": 10,
             "num_attention_heads": 8, "dim_feedforward": 2048, "num_queries": 100}
    labels = {str(number): f"LABEL_{number}" for number in range(80)}
    config = detector.SMALL | sizes | {"backbone_config": swin, "id2label": labels}
    model, image = detector.build(config, redraw), torch.randn(1, 3, 384, 384)
    output, taps = clock(lambda: detector.observed(model, image))
    tensors = detector.file_of(model, image, output, taps)
    write(folder, "mask2former_full", config, NOTES, 214, tensors)


PARTS = {"vit-h": vit_h, "clip-l": clip_l, "image-reward": image_reward, "mask2former": mask2former}
