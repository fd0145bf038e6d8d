"""Mask2Former over Swin as mmdetection 2 has it, with its names and its order of channels.

Written for this file from the papers and from what mmdetection's modules are called; it shares
nothing with transformers' network. What makes it another layout: four neighbours are joined by
`nn.Unfold`, queries, keys and values are one matrix in each attention but that of pixels.
"""

import io
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy
import torch
import torch.nn.functional as F
from torch import nn

from golden import seed, stir, write

POINTS = 4
LEVELS = 3
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def module(**parts) -> nn.Module:
    made = nn.Module()
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def feed_forward(dim: int, hidden: int, activation: nn.Module) -> nn.Module:
    first = nn.Sequential(nn.Linear(dim, hidden), activation)
    return module(layers=nn.Sequential(first, nn.Linear(hidden, dim)))


def conv_norm(inputs: int, outputs: int, kernel: int, bias: bool) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    return module(conv=conv, gn=nn.GroupNorm(32, outputs))


def apply_conv_norm(part: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return part.gn(part.conv(x))


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def grid(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return x.transpose(1, 2).unflatten(2, size)


def fill(x: torch.Tensor, step: int) -> torch.Tensor:
    """Zeros at the right and the bottom, up to multiples of `step`."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % step, 0, -height % step))


class WindowAttention(nn.Module):
    def __init__(self, dim: int, heads: int, window: int, bias: bool) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        table = torch.zeros((2 * window - 1) ** 2, heads)
        self.w_msa = module(
            relative_position_bias_table=nn.Parameter(table),
            qkv=nn.Linear(dim, 3 * dim, bias=bias),
            proj=nn.Linear(dim, dim),
        )
        place = torch.tensor([(y, x) for y in range(window) for x in range(window)])
        offset = place[:, None] - place[None, :] + window - 1
        index = offset[..., 0] * (2 * window - 1) + offset[..., 1]
        self.w_msa.register_buffer("relative_position_index", index)

    def forward(self, x: torch.Tensor, size: tuple[int, int], shift: int) -> torch.Tensor:
        window, part = self.window, self.w_msa
        padded = fill(grid(x, size), window)
        high, wide = padded.shape[-2:]
        # Where each pixel of the rolled map comes from, and the part of the map that it is of.
        rolled = padded.roll((-shift, -shift), (2, 3))
        line = lambda extent: torch.tensor(
            [0 if at < extent - window else 1 if at < extent - shift else 2 for at in range(extent)]
        ) if shift else torch.zeros(extent, dtype=torch.long)
        region = 3 * line(high)[:, None] + line(wide)[None, :]
        cut = lambda y: F.unfold(y, window, stride=window)
        batch, dim = rolled.shape[:2]
        windows = cut(rolled).view(batch, dim, window * window, -1).permute(0, 3, 2, 1)
        regions = cut(region[None, None].double())[0].T
        apart = (regions[:, :, None] != regions[:, None, :]) * -100.0
        q, k, v = part.qkv(windows).chunk(3, -1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(2, 3) for y in (q, k, v))
        bias = part.relative_position_bias_table[part.relative_position_index].permute(2, 0, 1)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias + apart[None, :, None].float()
        joined = part.proj((scores.softmax(-1) @ v).transpose(2, 3).flatten(3))
        folded = joined.permute(0, 3, 2, 1).flatten(1, 2)
        back = F.fold(folded, (high, wide), window, stride=window).roll((shift, shift), (2, 3))
        return tokens(back[..., : size[0], : size[1]])


class Swin(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        dim, patch = config["embed_dim"], config["patch_size"]
        self.window = config["window_size"]
        self.patch_embed = module(
            projection=nn.Conv2d(3, dim, patch, stride=patch), norm=nn.LayerNorm(dim)
        )
        self.stages = nn.ModuleList()
        for i, (depth, heads) in enumerate(zip(config["depths"], config["num_heads"])):
            width = dim << i
            blocks = nn.ModuleList(
                module(
                    norm1=nn.LayerNorm(width),
                    attn=WindowAttention(width, heads, self.window, config["qkv_bias"]),
                    norm2=nn.LayerNorm(width),
                    ffn=feed_forward(width, int(config["mlp_ratio"] * width), nn.GELU()),
                )
                for _ in range(depth)
            )
            stage = module(blocks=blocks)
            if i < 3:
                reduction = nn.Linear(4 * width, 2 * width, bias=False)
                stage.downsample = module(norm=nn.LayerNorm(4 * width), reduction=reduction)
            self.stages.append(stage)
            setattr(self, f"norm{i}", nn.LayerNorm(width))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        map_ = self.patch_embed.projection(fill(image, self.patch_embed.projection.stride[0]))
        size, x, maps = map_.shape[-2:], self.patch_embed.norm(tokens(map_)), []
        for i, stage in enumerate(self.stages):
            for j, block in enumerate(stage.blocks):
                shift = self.window // 2 if j % 2 else 0
                x = x + block.attn(block.norm1(x), size, shift)
                x = x + block.ffn.layers(block.norm2(x))
            maps.append(grid(getattr(self, f"norm{i}")(x), size))
            if i < 3:
                # Channel by channel, each with its four neighbours row by row.
                joined = F.unfold(fill(grid(x, size), 2), 2, stride=2).transpose(1, 2)
                x = stage.downsample.reduction(stage.downsample.norm(joined))
                size = tuple((extent + 1) // 2 for extent in size)
        return maps


def sines(size: tuple[int, int], dim: int) -> torch.Tensor:
    """`[1, dim, height, width]`: rows in the first half, columns in the second."""
    half = dim // 2
    power = torch.arange(half) // 2 * 2 / half
    halves = []
    for axis, extent in enumerate(size):
        angle = torch.arange(1, extent + 1) / (extent + 1e-6) * 2 * torch.pi
        angle = angle[:, None] / 10000**power
        wave = torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos()).T
        shape = (half, extent, 1) if axis == 0 else (half, 1, extent)
        halves.append(wave.reshape(shape).expand(half, *size))
    return torch.cat(halves)[None]


class PixelAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.sampling_offsets = nn.Linear(dim, heads * LEVELS * POINTS * 2)
        self.attention_weights = nn.Linear(dim, heads * LEVELS * POINTS)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)

    def forward(self, x, places, sizes) -> torch.Tensor:
        batch, count, dim = x.shape
        query = x + places
        values = self.value_proj(x).split([h * w for h, w in sizes], 1)
        offsets = self.sampling_offsets(query).view(batch, count, self.heads, LEVELS, POINTS, 2)
        weights = self.attention_weights(query).view(batch, count, self.heads, -1)
        weights = weights.softmax(-1).view(batch, count, self.heads, LEVELS, POINTS)
        centres = torch.cat([
            torch.stack(
                torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij"),
                -1,
            ).flip(-1).view(-1, 2)
            for h, w in sizes
        ])
        total = 0
        for level, (height, width) in enumerate(sizes):
            at = centres[None, :, None, None] + offsets[:, :, :, level] / torch.tensor([width, height])
            at = (2 * at - 1).transpose(1, 2).flatten(0, 1)
            value = grid(values[level], (height, width))
            value = value.unflatten(1, (self.heads, -1)).flatten(0, 1)
            seen = F.grid_sample(value, at, align_corners=False)
            weight = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
            total = total + (seen * weight).sum(-1)
        return self.output_proj(total.view(batch, dim, count).transpose(1, 2))


class Head(nn.Module):
    def __init__(self, config: dict, classes: int) -> None:
        super().__init__()
        dim, heads = config["feature_size"], config["num_attention_heads"]
        widths = [config["backbone_config"]["embed_dim"] << i for i in range(4)]
        norms = lambda count: nn.ModuleList(nn.LayerNorm(dim) for _ in range(count))
        layer = lambda: module(
            attentions=nn.ModuleList([PixelAttention(dim, heads)]),
            ffns=nn.ModuleList([feed_forward(dim, config["encoder_feedforward_dim"], nn.ReLU())]),
            norms=norms(2),
        )
        layers = nn.ModuleList(layer() for _ in range(config["encoder_layers"]))
        self.pixel_decoder = module(
            input_convs=nn.ModuleList(conv_norm(width, dim, 1, True) for width in widths[:0:-1]),
            encoder=module(layers=layers),
            level_encoding=nn.Embedding(LEVELS, dim),
            lateral_convs=nn.ModuleList([conv_norm(widths[0], dim, 1, False)]),
            output_convs=nn.ModuleList([conv_norm(dim, dim, 3, False)]),
            mask_feature=nn.Conv2d(dim, config["mask_feature_size"], 1),
        )
        attention = lambda: module(attn=nn.MultiheadAttention(dim, heads, batch_first=True))
        layer = lambda: module(
            attentions=nn.ModuleList([attention(), attention()]),
            ffns=nn.ModuleList([feed_forward(dim, config["dim_feedforward"], nn.ReLU())]),
            norms=norms(3),
        )
        layers = nn.ModuleList(layer() for _ in range(config["decoder_layers"] - 1))
        self.transformer_decoder = module(layers=layers, post_norm=nn.LayerNorm(dim))
        self.query_embed = nn.Embedding(config["num_queries"], dim)
        self.query_feat = nn.Embedding(config["num_queries"], dim)
        self.level_embed = nn.Embedding(LEVELS, dim)
        self.cls_embed = nn.Linear(dim, classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(),
            nn.Linear(dim, config["mask_feature_size"]),
        )

    def pixels(self, maps: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        part = self.pixel_decoder
        coarse = maps[:0:-1]
        sizes = [tuple(x.shape[-2:]) for x in coarse]
        x = torch.cat([tokens(apply_conv_norm(conv, y)) for conv, y in zip(part.input_convs, coarse)], 1)
        dim = x.shape[-1]
        places = torch.cat([
            tokens(sines(size, dim)) + level for size, level in zip(sizes, part.level_encoding.weight)
        ], 1)
        for layer in part.encoder.layers:
            x = layer.norms[0](x + layer.attentions[0](x, places, sizes))
            x = layer.norms[1](x + layer.ffns[0].layers(x))
        levels = [grid(y, size) for y, size in zip(x.split([h * w for h, w in sizes], 1), sizes)]
        fine = apply_conv_norm(part.lateral_convs[0], maps[0])
        fine = fine + F.interpolate(levels[-1], fine.shape[-2:], mode="bilinear", align_corners=False)
        return levels, part.mask_feature(apply_conv_norm(part.output_convs[0], fine).relu())

    def say(self, x: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.transformer_decoder.post_norm(x)
        masks = self.mask_embed(x) @ features.flatten(2)
        return self.cls_embed(x), masks.unflatten(2, features.shape[-2:])

    def forward(self, maps: list[torch.Tensor]):
        levels, features = self.pixels(maps)
        x = self.query_feat.weight[None].expand(features.shape[0], -1, -1)
        place = self.query_embed.weight[None]
        classes, masks = self.say(x, features)
        least = float("inf")
        for i, layer in enumerate(self.transformer_decoder.layers):
            level = levels[i % LEVELS]
            size = level.shape[-2:]
            value = tokens(level) + self.level_embed.weight[i % LEVELS]
            key = value + tokens(sines(size, x.shape[-1]))
            seen = F.interpolate(masks, size, mode="bilinear", align_corners=False).flatten(2)
            least = min(least, (seen.abs().min() / seen.abs().max()).item())
            blocked = seen.sigmoid() < 0.5
            blocked[blocked.all(-1)] = False
            cross, own = (attention.attn for attention in layer.attentions)
            blocked = blocked.repeat_interleave(cross.num_heads, 0)
            x = layer.norms[0](x + cross(x + place, key, value, attn_mask=blocked)[0])
            x = layer.norms[1](x + own(x + place, x + place, x)[0])
            x = layer.norms[2](x + layer.ffns[0].layers(x))
            classes, masks = self.say(x, features)
        return classes, masks, least


def detector(config: dict, classes: int) -> nn.Module:
    return module(backbone=Swin(config["backbone_config"]), panoptic_head=Head(config, classes))


def prepare(picture: torch.Tensor, pipeline: dict):
    """The picture as the network sees it, and the size before it was filled up."""
    height, width = picture.shape[:2]
    scale = min(
        pipeline["longest_side"] / max(height, width), pipeline["shortest_side"] / min(height, width)
    )
    size = (int(width * scale + 0.5), int(height * scale + 0.5))
    resized = cv2.resize(picture.numpy(), size, interpolation=cv2.INTER_LINEAR).astype(numpy.float32)
    x = (torch.from_numpy(resized) - torch.tensor(MEAN)) / torch.tensor(STD)
    return fill(x.permute(2, 0, 1)[None], pipeline["size_divisor"]), size[::-1]


def objects(classes, masks, padded, resized, size, threshold: float) -> list[tuple]:
    """Score, class and mask of each object, the best first; and the logit nearest to 0."""
    probability = classes.softmax(-1)[:, :-1].flatten()
    best = probability.topk(len(classes))
    labels, queries = best.indices % (classes.shape[1] - 1), best.indices // (classes.shape[1] - 1)
    up = lambda x, to: F.interpolate(x[None], to, mode="bilinear", align_corners=False)[0]
    logits = up(up(masks, padded)[:, : resized[0], : resized[1]], size)[queries]
    inside = (logits > 0).float()
    mean = (logits.sigmoid() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
    found = list(zip((best.values * mean).tolist(), labels.tolist(), inside.bool()))
    found = sorted((one for one in found if one[0] >= threshold), key=lambda one: -one[0])
    return found, (logits.abs().min() / logits.abs().max()).item()


def checkpoint(model: nn.Module) -> torch.Tensor:
    """What mmdetection publishes: no archive, and other things beside the weights."""
    state = OrderedDict(model.state_dict())
    content = {
        "meta": {"CLASSES": ("person", "dog", "keyboard"), "epoch": 50, "hook_msgs": {}},
        "state_dict": state,
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(3)}}},
    }
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def everything(folder: Path, config: dict, labels: dict) -> None:
    value = 261
    seed(value)
    classes = len(labels)
    model = stir(detector(config, classes))
    pipeline = {"longest_side": 90, "shortest_side": 70, "size_divisor": 32}
    picture = torch.randint(0, 256, (47, 39, 3), dtype=torch.uint8)
    picture[10:30, 5:30] //= 3
    image, resized = prepare(picture, pipeline)
    with torch.no_grad():
        logits, masks, least = model.panoptic_head(model.backbone(image))
    threshold = 0.1
    found, nearest = objects(
        logits[0], masks[0], image.shape[-2:], resized, picture.shape[:2], threshold
    )
    assert least > 1e-5 and nearest > 1e-6 and len(found) > 2, f"{least} {nearest} {len(found)}"
    boxes = []
    for _, _, mask in found:
        y, x = torch.nonzero(mask, as_tuple=True)
        boxes.append([x.min().item(), y.min().item(), x.max().item() + 1, y.max().item() + 1])
    tensors = {
        "in.checkpoint_u8": checkpoint(model),
        "in.rgb_u8": picture,
        "out.pixel_values": image,
        "out.class_queries_logits": logits,
        "out.masks_queries_logits": masks,
        "out.scores": torch.tensor([score for score, _, _ in found]),
        "out.labels": torch.tensor([label for _, label, _ in found]),
        "out.boxes": torch.tensor(boxes, dtype=torch.float32),
        "out.boxes_inclusive": torch.tensor(boxes) - torch.tensor([0.0, 0.0, 1.0, 1.0]),
        "out.masks": torch.stack([mask for _, _, mask in found]).to(torch.uint8),
    }
    settings = {"network": config | {"id2label": labels}, "pipeline": pipeline, "threshold": threshold}
    notes = f"{len(found)} objects; least mask logit at the sizes of attention, relative: {least:.1e}"
    write(folder, "mask2former_mmdet_small", settings, notes, value, tensors)
