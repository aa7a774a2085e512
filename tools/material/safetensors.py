"""Writes safetensors files of F32 tensors."""
import json
import sys


def write(path, tensors):
    """tensors: {name: (shape, array of floats)}"""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, floats) in sorted(tensors.items()):
        size = 4 * len(floats)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, (_, floats) in sorted(tensors.items()):
            if sys.byteorder == "big":
                floats = floats[:]
                floats.byteswap()
            floats.tofile(file)
