"""Times the Python originals of published rewards at full size with random weights.

Called by `hyperalign bench rewards --python`: rewards.py BATCH EDGE WARMUP REPEAT NAME...
Prints one line of JSON for each name: {"reward", "seconds": [...]} or {"reward", "missing": why}.
"""

import gc
import json
import sys
import time

import numpy
import torch
from PIL import Image

PROMPT = "a red heart to the left of a dog"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def pil(size):
    from torchvision import transforms

    return transforms.Compose([
        transforms.Resize(size, transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])


def cosine(image, text):
    unit = torch.nn.functional.normalize
    return (unit(image, dim=-1) * unit(text, dim=-1)).sum(-1)


def features(output):
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def open_clip_scorer():
    import open_clip

    model = open_clip.create_model("ViT-H-14").eval()
    prepare = pil(224)

    def score(images, ids):
        batch = torch.stack([prepare(image) for image in images])
        return cosine(model.encode_image(batch), model.encode_text(ids))

    return score


def transformers_clip(vision, text, projection):
    from transformers import CLIPConfig, CLIPModel

    config = {"vision_config": vision, "text_config": text, "projection_dim": projection}
    model = CLIPModel(CLIPConfig(**config)).eval()
    return model, pil(224)


VIT_H = (
    {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
     "num_attention_heads": 16, "patch_size": 14, "image_size": 224, "hidden_act": "gelu"},
    {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
     "num_attention_heads": 16, "hidden_act": "gelu"},
    1024,
)
VIT_L = (
    {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
     "num_attention_heads": 16, "patch_size": 14, "image_size": 224},
    {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
     "num_attention_heads": 12},
    768,
)


def dual(sizes):
    model, prepare = transformers_clip(*sizes)

    def score(images, ids):
        batch = torch.stack([prepare(image) for image in images])
        image = features(model.get_image_features(pixel_values=batch))
        return cosine(image, features(model.get_text_features(input_ids=ids)))

    return score


def aesthetic():
    model, prepare = transformers_clip(*VIT_L)
    sizes = [768, 1024, 128, 64, 16, 1]
    layers = [torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
    head = torch.nn.Sequential(*layers).eval()

    def score(images, _):
        batch = torch.stack([prepare(image) for image in images])
        image = features(model.get_image_features(pixel_values=batch))
        return head(torch.nn.functional.normalize(image, dim=-1))

    return score


def image_reward():
    """The networks of ImageReward from transformers: its own package pins old versions."""
    from transformers import BertConfig, BlipVisionConfig, BlipVisionModel
    from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer

    vision = BlipVisionModel(BlipVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
        image_size=224, patch_size=16, layer_norm_eps=1e-6, hidden_act="gelu")).eval()
    config = BertConfig(
        vocab_size=30524, is_decoder=True, add_cross_attention=True, attn_implementation="eager")
    embeddings = BertEmbeddings(config).eval()
    layers = [BertLayer(config).eval() for _ in range(12)]
    for layer in layers:
        for part in ("key", "value"):
            setattr(layer.crossattention.self, part, torch.nn.Linear(1024, 768))
    sizes = [768, 1024, 128, 64, 16, 1]
    head = torch.nn.Sequential(*[torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]).eval()
    prepare = pil(224)

    def score(images, ids):
        seen = vision(pixel_values=torch.stack([prepare(i) for i in images])).last_hidden_state
        states = embeddings(input_ids=ids[:, :35].clamp(max=30000))
        everything = torch.zeros(len(images), 1, 1, 35)
        for layer in layers:
            states = layer(
                states,
                attention_mask=everything,
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.zeros(len(images), 1, 1, seen.shape[1]),
            )
            states = states[0] if isinstance(states, tuple) else states
        return head(states[:, 0])

    return score


def geneval():
    """The detector of transformers, from pictures to objects; colours are of CLIP and not timed."""
    from transformers import (
        Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor,
        SwinConfig)

    swin = SwinConfig(
        embed_dim=96, depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24], window_size=7,
        image_size=224, out_features=["stage1", "stage2", "stage3", "stage4"])
    names = {number: str(number) for number in range(80)}
    config = Mask2FormerConfig(backbone_config=swin, id2label=names)
    model = Mask2FormerForUniversalSegmentation(config).eval()
    processor = Mask2FormerImageProcessor(size={"height": 384, "width": 384})

    def score(images, _):
        output = model(**processor(images=images, return_tensors="pt"))
        sizes = [image.size[::-1] for image in images]
        return processor.post_process_instance_segmentation(
            output, threshold=0.3, target_sizes=sizes, return_binary_maps=True)

    return score


ORIGINALS = {
    "aesthetic": aesthetic,
    "clip_score": lambda: dual(VIT_L),
    "geneval": geneval,
    "hps_v2": open_clip_scorer,
    "hps_v2.1": open_clip_scorer,
    "image_reward": image_reward,
    "pick_score": lambda: dual(VIT_H),
}


def run(name, batch, edge, warmup, repeat):
    score = ORIGINALS[name.removesuffix("_no_antialias")]()
    noise = numpy.random.default_rng(1)
    shape = (edge, edge, 3)
    images = [
        Image.fromarray(noise.integers(0, 256, shape, dtype=numpy.uint8)) for _ in range(batch)
    ]
    ids = torch.zeros(batch, 77, dtype=torch.long)
    ids[:, 10] = 49407
    seconds = []
    with torch.no_grad():
        for k in range(warmup + repeat):
            start = time.perf_counter()
            score(images, ids)
            if k >= warmup:
                seconds.append(time.perf_counter() - start)
    return seconds


def main():
    batch, edge, warmup, repeat = map(int, sys.argv[1:5])
    for name in sys.argv[5:]:
        try:
            answer = {"reward": name, "seconds": run(name, batch, edge, warmup, repeat)}
        except Exception as error:
            answer = {"reward": name, "missing": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
        gc.collect()


main()
