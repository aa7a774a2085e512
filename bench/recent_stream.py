#!/usr/bin/env python3
"""kindred anomalies recent --stream on real vectors: items of one class and then of another, in any order inside each; and
the same items all mixed, where no change is to be found. Prints the table of docs/analysis.md.

  bench/recent_stream.py [--build build] [--rounds 30]

Needs numpy. Data and models are fetched by tools/materials.py."""
import argparse
import json
import pathlib
import random
import subprocess
import tempfile

import numpy as np
from cluster_accuracy import material


def embed(kindred, model, folder, *inputs):
    file = folder / "x.npy"
    subprocess.run([kindred, "embed", "--quiet", "--model", material(model), "-o", file, *inputs], check=True)
    return np.load(file)


def photos(kindred, folder):
    paths = sorted((material("gcompris-photos") / "labelled").glob("*/*"))
    return embed(kindred, "vit-s-focus", folder, *paths), [path.parent.name for path in paths]


def sayings(kindred, folder):
    source = material("fortunes")
    return (embed(kindred, "minilm", folder, "--texts", source / "sayings.txt"),
            (source / "labels.txt").read_text().splitlines())


def changes_of(kindred, vectors, window):
    """[(first item of the new kind, item by which that was told)]"""
    lines = "".join(json.dumps([round(float(v), 6) for v in vector]) + "\n" for vector in vectors)
    out = subprocess.run([kindred, "anomalies", "recent", "--stream", "--window", str(window)], input=lines, check=True,
                         capture_output=True, text=True).stdout
    told = (json.loads(line).get("change") for line in out.splitlines())
    return [(change["item"], change["seen_at"]) for change in told if change]


def measure(kindred, name, vectors, labels, window, rounds):
    classes = {label: np.flatnonzero(np.array(labels) == label) for label in sorted(set(labels))}
    pairs = [(a, b) for a in classes for b in classes if a != b and min(len(classes[a]), len(classes[b])) >= window]
    draw, each = random.Random(1), []
    found, false, far, delay, mixed = 0, 0, [], [], 0
    for a, b in draw.sample(pairs, min(rounds, len(pairs))):
        first, second = (draw.sample(list(classes[c]), min(len(classes[c]), 2 * window)) for c in (a, b))
        told = changes_of(kindred, vectors[first + second], window)
        near = [(place, seen) for place, seen in told if seen >= len(first)]
        found += bool(near)
        false += len(told) - bool(near)
        if near:
            far.append(abs(near[0][0] - len(first)))
            delay.append(near[0][1] - len(first) + 1)
        mixed += len(changes_of(kindred, vectors[draw.sample(first + second, len(first) + len(second))], window))
        each.append(len(first) + len(second))
    n = len(each)
    print(f"| {name} | {window} | {n} | {found} | {np.median(far):.0f} ({np.max(far)}) | {np.median(delay):.0f} ({np.max(delay)}) "
          f"| {false} | {mixed} in {sum(each):,} items |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    kindred = pathlib.Path(options.build) / "kindred"
    print("| data | window | streams | changes found | items from the true place, median (most) "
          "| items until told, median (most) | told wrongly "
          "| told where all is mixed |\n" + "|---" * 8 + "|")
    with tempfile.TemporaryDirectory() as name:
        for data, read, windows in (("photos", photos, (12, 24)), ("sayings", sayings, (30, 60, 100))):
            vectors, labels = read(kindred, pathlib.Path(name))
            for window in windows:
                measure(kindred, data, vectors, labels, window, options.rounds)


if __name__ == "__main__":
    main()
