"""Mask2Former over Swin, its parts alone, its post-processing, and colours by CLIP.

Weights have the names of the files that transformers writes. What it shows on the way is named as
`hyperalign parity` names it.
"""

import json
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    SwinConfig,
)
from transformers.models.mask2former import modeling_mask2former as reference

import mmdet
from clip import MEAN, STD
from golden import seed, stir, weights, write

SWIN = {
    "model_type": "swin",
    "image_size": 48,
    "patch_size": 4,
    "num_channels": 3,
    "embed_dim": 4,
    "depths": [2, 1, 2, 1],
    "num_heads": [1, 2, 4, 2],
    "window_size": 3,
    "mlp_ratio": 3.0,
    "qkv_bias": True,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "drop_path_rate": 0.0,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
# Maps of 13 x 21, 7 x 11, 4 x 6 and 2 x 3: every window and every second map is filled up.
SMALL = {
    "model_type": "mask2former",
    "backbone_config": SWIN,
    "feature_size": 32,
    "mask_feature_size": 24,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 40,
    "encoder_layers": 2,
    "decoder_layers": 5,
    "num_attention_heads": 2,
    "dim_feedforward": 36,
    "num_queries": 7,
    "pre_norm": False,
    "enforce_input_projection": False,
    "feature_strides": [4, 8, 16, 32],
    "common_stride": 4,
    "activation_function": "relu",
}
# Norms in front, maps of another width than the queries, and a larger window than all maps.
WIDE = SMALL | {
    "backbone_config": SWIN | {"window_size": 5, "depths": [1, 2, 1, 1], "qkv_bias": False},
    "feature_size": 64,
    "hidden_dim": 24,
    "mask_feature_size": 24,
    "encoder_layers": 1,
    "decoder_layers": 3,
    "pre_norm": True,
}
LABELS = {"0": "person", "1": "dog", "2": "keyboard"}


def build(config: dict, stir=stir) -> Mask2FormerForUniversalSegmentation:
    parts = {name: value for name, value in config.items() if name != "model_type"}
    swin = {name: value for name, value in config["backbone_config"].items() if name != "model_type"}
    parts["backbone_config"] = SwinConfig(**swin)
    labels = {int(number): label for number, label in config["id2label"].items()}
    parts |= {"id2label": labels, "label2id": {label: number for number, label in labels.items()}}
    return stir(Mask2FormerForUniversalSegmentation(Mask2FormerConfig(**parts, dropout=0.0)))


def published(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of the file that the library writes, whose names are those of published files."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = load_file(Path(folder) / "model.safetensors")
    return {f"w.{name}": value for name, value in tensors.items()}


class Watch:
    """Keeps what modules give, under the names that they are asked for by."""

    def __init__(self) -> None:
        self.taps: dict[str, torch.Tensor] = {}

    def of(self, module: torch.nn.Module, name: str) -> None:
        def hook(_module, _inputs, output):
            part = output[0] if isinstance(output, tuple) else output
            self.taps[f"tap.{name}"] = part

        module.register_forward_hook(hook)


def network(folder: Path, stem: str, config: dict, size: tuple[int, int], value: int) -> None:
    seed(value)
    config = config | {"id2label": LABELS}
    model, image = build(config), torch.randn(2, 3, *size)
    output, taps = observed(model, image)
    least = nearest_to_zero(taps)
    assert least > 1e-5, f"{least}: choose another seed"
    notes = f"least mask logit at the sizes of attention, relative: {least:.1e}"
    write(folder, stem, config, notes, value, file_of(model, image, output, taps))


def file_of(model, image: torch.Tensor, output, taps: dict) -> dict[str, torch.Tensor]:
    return published(model) | taps | {
        "in.pixel_values": image,
        "out.class_queries_logits": output.class_queries_logits,
        "out.masks_queries_logits": output.masks_queries_logits,
    }


def observed(model, image: torch.Tensor):
    """What the network gives, and what it computes on the way."""
    watch = Watch()
    inner = model.model
    decoder, queries = inner.pixel_level_module.decoder, inner.transformer_module.decoder
    for i, projection in enumerate(decoder.input_projections):
        watch.of(projection, f"pixel_decoder_input_projection{i}")
    for i, layer in enumerate(decoder.encoder.layers):
        watch.of(layer, f"pixel_decoder_layer{i}")
        watch.of(layer.self_attn, f"pixel_decoder_layer{i}_self_attn")
    for i, layer in enumerate(queries.layers):
        watch.of(layer, f"decoder_layer{i}")
        watch.of(layer.cross_attn, f"decoder_layer{i}_cross_attn")
        watch.of(layer.self_attn, f"decoder_layer{i}_self_attn")
    with torch.no_grad():
        output = model(image, output_hidden_states=True, output_auxiliary_logits=True)
    taps = watch.taps
    for i, maps in enumerate(output.encoder_hidden_states):
        taps[f"tap.swin_stage{i + 1}"] = maps
    for i, maps in enumerate(output.pixel_decoder_hidden_states):
        taps[f"tap.pixel_decoder_multi_scale{i}"] = maps
    taps["tap.pixel_decoder_mask_features"] = output.pixel_decoder_last_hidden_state
    for i, auxiliary in enumerate(output.auxiliary_logits):
        for name in ("class_queries_logits", "masks_queries_logits"):
            taps[f"tap.{name}.{i}"] = auxiliary[name]
    return output, taps


def nearest_to_zero(taps: dict) -> float:
    """Masked attention depends on signs, and a logit near 0 may have either."""
    least = float("inf")
    for name, masks in taps.items():
        if not name.startswith("tap.masks_queries_logits."):
            continue
        level = int(name.rsplit(".", 1)[1]) % 3
        target = taps[f"tap.pixel_decoder_multi_scale{level}"].shape[-2:]
        seen = F.interpolate(masks, size=target, mode="bilinear", align_corners=False).abs()
        least = min(least, (seen.min() / seen.max()).item())
    return least


def swin(folder: Path) -> None:
    """The backbone alone, on a picture that is smaller than a window in its last stages."""
    seed(203)
    config = SMALL | {"id2label": LABELS, "backbone_config": SWIN | {"window_size": 4}}
    model = build(config)
    image = torch.randn(1, 3, 21, 46)
    with torch.no_grad():
        maps = model.model.pixel_level_module.encoder(image).feature_maps
    begin = "w.model.pixel_level_module.encoder."
    own = {f"w.{name.removeprefix(begin)}": value
           for name, value in published(model).items() if name.startswith(begin)}
    tensors = own | {"in.pixel_values": image}
    tensors |= {f"out.stage{i + 1}": maps for i, maps in enumerate(maps)}
    write(folder, "swin_small", config["backbone_config"], "", 203, tensors)


def deformable_attention(folder: Path) -> None:
    seed(221)
    shapes = [[3, 5], [6, 2]]
    batch, queries, heads, points, dim = 2, 5, 3, 2, 4
    total = sum(height * width for height, width in shapes)
    value = torch.randn(batch, total, heads, dim, requires_grad=True)
    locations = (1.4 * torch.rand(batch, queries, heads, len(shapes), points, 2) - 0.2)
    locations.requires_grad_()
    strength = torch.randn(batch, queries, heads, len(shapes) * points).softmax(-1)
    strength = strength.view(batch, queries, heads, len(shapes), points).requires_grad_()
    cotangent = torch.randn(batch, queries, heads * dim)
    attention = attend(value, shapes, locations, strength)
    (attention * cotangent).sum().backward()
    edges = torch.tensor([0.0, 1.0, 0.5, 1 / 3, -0.1, 1.2])
    pick = torch.randint(0, len(edges), locations.shape)
    tensors = {
        "in.value": value,
        "in.spatial_shapes": torch.tensor(shapes),
        "in.sampling_locations": locations,
        "in.attention_weights": strength,
        "in.grad_output": cotangent,
        "in.edge_sampling_locations": edges[pick],
        "out.output": attention,
        "out.edge_output": attend(value, shapes, edges[pick], strength),
        "grad.in.value": value.grad,
        "grad.in.sampling_locations": locations.grad,
        "grad.in.attention_weights": strength.grad,
    }
    config = {"shapes": shapes, "heads": heads, "points": points}
    write(folder, "ms_deform_attn_small", config, "places also outside of the maps", 221, tensors)


def attend(value, shapes, locations, strength):
    return reference.multi_scale_deformable_attention(value, shapes, locations, strength)


def post(folder: Path) -> None:
    """Objects of three pictures, one of which has none."""
    seed(231)
    targets, thresholds = [[50, 41], [20, 96], [30, 30]], [0.4, 0.05]
    classes = 4.0 * torch.randn(3, 6, 4)
    classes[2, :, -1] += 40.0
    masks = F.interpolate(8.0 * torch.randn(3, 6, 3, 4), size=(14, 22), mode="bicubic")
    processor = Mask2FormerImageProcessor()
    output = reference.Mask2FormerForUniversalSegmentationOutput(
        class_queries_logits=classes, masks_queries_logits=masks
    )
    square = F.interpolate(masks, size=(384, 384), mode="bilinear", align_corners=False)
    inside = (square > 0).float()
    area = inside.sum((2, 3))
    tensors = {
        "in.class_queries_logits": classes,
        "in.masks_queries_logits": masks,
        "tap.class_prob": classes.softmax(-1),
        "tap.mask_area_384": area,
        "tap.mask_score": (square.sigmoid() * inside).sum((2, 3)) / (area + 1e-6),
    }
    for threshold in thresholds:
        found = processor.post_process_instance_segmentation(
            output, threshold=threshold, target_sizes=targets, return_binary_maps=True
        )
        for picture, (size, of_picture) in enumerate(zip(targets, found)):
            tensors |= rows(f"out.{picture}.t{round(100 * threshold):03}", size, of_picture)
    config = {"targets": targets, "thresholds": thresholds}
    write(folder, "mask2former_post_small", config, "sorted by score", 231, tensors)


def rows(name: str, size: list[int], found: dict) -> dict[str, torch.Tensor]:
    segments = found["segments_info"]
    masks = found["segmentation"] if segments else torch.zeros(0, *size)
    order = sorted(range(len(segments)), key=lambda k: -segments[k]["score"])
    masks = torch.stack([masks[k] for k in order]).to(torch.uint8) if order else masks.to(torch.uint8)
    boxes = torch.zeros(len(order), 4)
    for row, mask in zip(boxes, masks):
        y, x = torch.nonzero(mask, as_tuple=True)
        row[:] = torch.tensor([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return {
        f"{name}.masks": masks,
        f"{name}.boxes": boxes,
        f"{name}.boxes_inclusive": boxes - torch.tensor([0.0, 0.0, 1.0, 1.0]),
        f"{name}.labels": torch.tensor([segments[k]["label_id"] for k in order], dtype=torch.long),
        f"{name}.scores": torch.tensor([float(segments[k]["score"]) for k in order]),
    }


def preprocess(folder: Path) -> None:
    """Pictures as the library's processor prepares them, in both ways to give a size."""
    seed(251)
    picture = torch.randint(0, 256, (47, 92, 3), dtype=torch.uint8)
    picture[10:30, 20:70] //= 3
    ways = {
        "exact": {"size": {"height": 48, "width": 40}, "size_divisor": 0, "resample": 2},
        "edges": {"size": {"shortest_edge": 60, "longest_edge": 100}, "size_divisor": 32, "resample": 2},
        "cubic": {"size": {"height": 96, "width": 64}, "size_divisor": 32, "resample": 3},
    }
    tensors = {"in.rgb_u8": picture}
    for name, settings in ways.items():
        processor = Mask2FormerImageProcessor(**settings, image_mean=[0.4, 0.5, 0.3], image_std=[0.2, 0.3, 0.4])
        image = Image.fromarray(picture.numpy())
        tensors[f"out.{name}"] = processor(images=image, return_tensors="pt")["pixel_values"]
        settings |= {"image_mean": [0.4, 0.5, 0.3], "image_std": [0.2, 0.3, 0.4]}
    write(folder, "mask2former_preprocess_small", ways, "torchvision on bytes", 251, tensors)


COLORS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]


def vocabulary() -> dict[str, int]:
    """Every printable letter, and every one that ends a word."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = letters + [f"{letter}</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}


def colors(folder: Path) -> None:
    """Objects on grey, and their cosines with the colours: what GenEval classifies by."""
    seed(241)
    vocab = vocabulary()
    text = {
        "vocab_size": len(vocab), "hidden_size": 12, "intermediate_size": 20, "projection_dim": 6,
        "num_hidden_layers": 2, "num_attention_heads": 3, "max_position_embeddings": 60,
        "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "eos_token_id": 2,
    }
    vision = {
        "hidden_size": 16, "intermediate_size": 24, "projection_dim": 6, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 20, "patch_size": 5, "hidden_act": "quick_gelu",
    }
    config = {"projection_dim": 6, "text_config": text, "vision_config": vision}
    model = stir(CLIPModel(CLIPConfig(**config)))
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "vocab.json").write_text(json.dumps(vocab))
        (Path(place) / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = CLIPTokenizer(f"{place}/vocab.json", f"{place}/merges.txt")
        ids = {color: tokenized(tokenizer, color) for color in COLORS}
    picture = torch.randint(0, 256, (31, 44, 3), dtype=torch.uint8)
    masks = torch.zeros(3, 31, 44, dtype=torch.uint8)
    masks[0, 4:25, 10:30] = torch.randint(0, 2, (21, 20))
    masks[1, 30:, 3:40] = 1
    masks[2, 2:9, 1:4] = 1
    boxes, crops = [], []
    prepare = transforms.Compose([
        transforms.Resize(20, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(20),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])
    image = Image.fromarray(picture.numpy())
    blank = Image.new("RGB", image.size, color="#999")
    for mask in masks:
        y, x = torch.nonzero(mask, as_tuple=True)
        box = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
        boxes.append(box)
        shown = Image.composite(image, blank, Image.fromarray(mask.numpy().astype(bool)))
        crops.append(prepare(shown.crop(box)))
    crops = torch.stack(crops)
    with torch.no_grad():
        features = embed(model.get_image_features(pixel_values=crops))
        columns = []
        for color in COLORS:
            of_color = torch.cat([embed(model.get_text_features(input_ids=row)) for row in ids[color]])
            mean = of_color.mean(0)
            columns.append(mean / mean.norm())
    tensors = weights(model) | {
        "in.rgb_u8": picture,
        "in.masks_u8": masks,
        "out.boxes": torch.tensor(boxes, dtype=torch.float32),
        "out.crops": crops,
        "out.cosines": features @ torch.stack(columns, 1),
    }
    config |= {"vocab": vocab, "class": "dog"}
    write(folder, "geneval_colors_small", config, "letters are tokens", 241, tensors)


def embed(features) -> torch.Tensor:
    features = getattr(features, "pooler_output", features)
    return F.normalize(features, dim=-1)


def tokenized(tokenizer, color: str) -> list[torch.Tensor]:
    texts = [f"a photo of a {color} dog", f"a photo of a {color}-colored dog", f"a photo of a {color} object"]
    return [torch.tensor([tokenizer(text)["input_ids"]]) for text in texts]


def everything(folder: Path) -> None:
    network(folder, "mask2former_small", SMALL, (50, 84), 201)
    network(folder, "mask2former_wide", WIDE, (64, 36), 202)
    swin(folder)
    deformable_attention(folder)
    post(folder)
    preprocess(folder)
    colors(folder)
    mmdet.everything(folder, SMALL, LABELS)
