"""Writes safetensors files."""
import json
import sys


def write_raw(path, tensors):
    """tensors: {name: (dtype, shape, little-endian bytes)}"""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, (_, _, data) in sorted(tensors.items()):
            file.write(data)


def little_endian(floats):
    if sys.byteorder == "big":
        floats = floats[:]
        floats.byteswap()
    return floats.tobytes()


def write(path, tensors):
    """tensors: {name: (shape, array of floats)}, written as F32"""
    write_raw(path, {name: ("F32", shape, little_endian(floats)) for name, (shape, floats) in tensors.items()})
