"""Writing a reference file: weights `w.*`, inputs `in.*`, results `out.*`, `tap.*`, `grad.*`."""

import json
import time
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file

PACKAGES = {
    "torch": "torch",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "open_clip": "open_clip_torch",
    "peft": "peft",
}


def seed(value: int) -> None:
    torch.manual_seed(value)


def stir(model: torch.nn.Module) -> torch.nn.Module:
    """Moves every weight off its initial value: ones and zeros would hide what they multiply."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def stir_norms(model: torch.nn.Module) -> torch.nn.Module:
    """Moves norms and biases only: in wide networks the matrices keep the spread that fits them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def clock(run):
    """What `run` returns; prints how long it took."""
    started = time.perf_counter()
    result = run()
    print(f"{time.perf_counter() - started:8.1f} s in the reference")
    return result


def weights(model: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"w.{prefix}{name}": value for name, value in model.named_parameters()}


def plain(tensor: torch.Tensor) -> torch.Tensor:
    whole = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if whole and tensor.is_contiguous() and tensor.nbytes > 1 << 20 else tensor.contiguous().clone()


def write(folder: Path, stem: str, config: dict, notes: str, value: int, tensors: dict) -> None:
    meta = {
        "config": config,
        "notes": notes,
        "seed": value,
        "versions": {name: version(package) for name, package in PACKAGES.items()},
    }
    # Copies, because safetensors refuses tensors that share memory; but not of large weights.
    tensors = {name: plain(tensor.detach()) for name, tensor in tensors.items()}
    path = folder / f"{stem}.safetensors"
    save_file(tensors, path, {"meta": json.dumps(meta, sort_keys=True)})
    print(f"{path.stat().st_size:8d}  {path.name}")
