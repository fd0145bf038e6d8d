"""Makes the reference files that `hyperalign parity` is tested with.

Tiny networks with random weights, run by the reference implementations in f32 on the CPU, with
every size different from every other, so that a swapped axis shows. `cargo xtask golden` runs this
with the versions of requirements.txt.
"""

import argparse
from pathlib import Path

import torch

import clip
import detector
import diffusion
import flux
import lora
import methods
import preferences
import rewards
import schedulers
import test_time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    # Sums in another order are other bits.
    torch.set_num_threads(1)

    text = clip.text(folder)
    clip.hugging_face(folder)
    clip.step_aware(folder)
    clip.open_clip(folder)
    clip.preprocess(folder)
    net = diffusion.unet(folder)
    diffusion.unet_lora(folder, net)
    codec = diffusion.vae(folder)
    diffusion.timestep_embedding(folder)
    diffusion.ddim(folder)
    schedulers.everything(folder)
    test_time.everything(folder)
    diffusion.pipeline(folder, text, clip.TEXT, net, codec)
    flux.everything(folder)
    lora.everything(folder, net, text, clip.TEXT)
    rewards.image_reward(folder)
    rewards.aesthetic(folder)
    detector.everything(folder)
    methods.everything(folder)
    preferences.make(folder.parents[2] / "hyperalign-train/tests/preferences")


if __name__ == "__main__":
    main()
