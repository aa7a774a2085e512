"""Write a model directory with weights made from a seed: the twin of tests/support/seeded.c, bit for bit.

    python3 seeded.py tests/data/seeded/clip-vit-b-32.json OUT_DIR [--tokenizer DIR]

Element i of a tensor is mean + scale * v in float32, where v is the top 24 bits, as a signed number, of
splitmix64(fnv1a64(seed + "/" + name) + (i + 1) * golden): every step is exact or rounds once, so C and
numpy agree. scale gives the uniform distribution the standard deviation that the table says.
"""
import argparse
import json
import pathlib
import shutil
import struct

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
ROOT = pathlib.Path(__file__).parents[2]
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")


def fnv1a64(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def fill(seed, tensor):
    """The values of one tensor, shaped."""
    shape = tensor["shape"]
    n = int(np.prod(shape, dtype=np.int64))
    if tensor.get("dtype") == "I64":  # position ids
        return np.arange(n, dtype=np.int64).reshape(shape)
    start = fnv1a64(f"{seed}/{tensor['name']}".encode())
    z = np.arange(1, n + 1, dtype=np.uint64)
    z *= np.uint64(GOLDEN)
    z += np.uint64(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    v = (z >> np.uint64(40)).astype(np.int64) - (1 << 23)
    scale = np.float32(tensor["std"] * 1.7320508075688772 / 8388608.0)
    return (v.astype(np.float32) * scale + np.float32(tensor["mean"])).reshape(shape)


def tensors(spec):
    """The table's rows with {} spelled out, in order of name as safetensors files have them."""
    rows = []
    for row in spec["tensors"]:
        repeat = range(row["repeat"][0], row["repeat"][1]) if "repeat" in row else [None]
        rows += [{**row, "name": row["name"].replace("{}", str(i))} for i in repeat]
    return sorted(rows, key=lambda row: row["name"].encode())


def state(spec):
    """name -> array, all of the model."""
    return {row["name"]: fill(spec["seed"], row) for row in tensors(spec)}


def write(spec, out, tokenizer=None):
    """The model directory: weights, the table's JSON files, the tokenizer's files (the table's own, if it names one),
    and parts, folders that are written from other tables."""
    out.mkdir(parents=True, exist_ok=True)
    for name, content in spec["files"].items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(json.dumps(content))
    for folder, name in spec.get("parts", {}).items():
        write(json.loads((ROOT / f"tests/data/seeded/{name}.json").read_text()), out / folder)
    if "tokenizer" in spec:
        tokenizer = ROOT / spec["tokenizer"]
    elif "material" in spec and tokenizer:
        tokenizer = tokenizer.parent / spec["material"]
    for name in TOKENIZER_FILES if tokenizer else ():
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, out / name)
    header, offset = {}, 0
    for row in tensors(spec):
        size = int(np.prod(row["shape"], dtype=np.int64)) * (8 if row.get("dtype") == "I64" else 4)
        header[row["name"]] = {"dtype": row.get("dtype", "F32"), "shape": row["shape"],
                               "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(out / spec["weights"], "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for row in tensors(spec):
            f.write(fill(spec["seed"], row).tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, help="folder with tokenizer.json or vocab.json + merges.txt")
    args = parser.parse_args()
    write(json.loads(args.spec.read_text()), args.out, args.tokenizer)


if __name__ == "__main__":
    main()
