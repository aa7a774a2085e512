#!/usr/bin/env python3
"""Reference for the safetensors reader: tests/data/weights/mixed.safetensors holds halves, bfloat16s and floats
from every exponent, written by the safetensors library; expected.safetensors holds what PyTorch converts them to.
Needs torch and safetensors."""
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/weights"


def patterns(exponent_bits, mantissa_bits):
    """Bit patterns of both signs with every exponent but the one of NaN, and telling mantissas; and infinity."""
    mantissas = sorted({0, 1, 2, 1 << (mantissa_bits - 1), (1 << mantissa_bits) - 1})
    top = (1 << exponent_bits) - 1
    rows = [s << 15 | e << mantissa_bits | m for s in (0, 1) for e in range(top) for m in mantissas]
    rows += [top << mantissa_bits, 1 << 15 | top << mantissa_bits]
    return torch.tensor([r - 65536 if r >= 32768 else r for r in rows], dtype=torch.int16)


def main():
    generator = torch.Generator().manual_seed(1)
    tensors = {
        "half": patterns(5, 10).view(torch.float16),
        "brain": patterns(8, 7).view(torch.bfloat16),
        "single": torch.randn(3, 5, 7, generator=generator),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({name: t.to(torch.float32) for name, t in tensors.items()}, OUT / "expected.safetensors")
    tensors["ids"] = torch.arange(6).reshape(2, 3)
    tensors["mask"] = torch.tensor([True, False, True])
    save_file(tensors, OUT / "mixed.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
