#!/usr/bin/env python3
"""kindred duplicates on real photos and what was made of them: which copies are found, what is taken for one wrongly,
as docs/analysis.md has it; beside the best threshold on cosines, and the perceptual hash alone.

  bench/duplicates_accuracy.py [--build build] [--seeds 60]

Needs numpy, Pillow and imagehash. The photos are the 246 of gcompris through a ViT-S (tools/materials.py fetches both).
Three pairs of them are one picture in two sizes, which was seen by eye; they count neither way."""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import imagehash
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"
SAME = (("brandenburgGate", "brandenburgGate"), ("colosseum", "colosseum"), ("greatPyramidOfGiza", "greatPyramid"))


def crop(share):
    def cut(image, place):
        width, height = (round(side * share ** 0.5) for side in image.size)
        x, y = place.randint(0, image.width - width), place.randint(0, image.height - height)
        return image.crop((x, y, x + width, y + height))
    return cut


def scale(factor):
    return lambda image, _: image.resize([max(1, round(side * factor)) for side in image.size], Image.BICUBIC)


# name: (what is done, quality of the JPEG)
KINDS = {
    "saved anew, quality 30": (lambda image, _: image, 30),
    "half the size": (scale(0.5), 85),
    "a quarter of the size": (scale(0.25), 75),
    "brighter by 35%": (lambda image, _: ImageEnhance.Brightness(image).enhance(1.35), 90),
    "darker by 40%": (lambda image, _: ImageEnhance.Brightness(image).enhance(0.6), 90),
    "grey": (lambda image, _: ImageOps.grayscale(image).convert("RGB"), 90),
    "tilted by 2 degrees": (lambda image, _: image.rotate(2, Image.BICUBIC), 90),
    "a white frame": (lambda image, _: ImageOps.expand(image, round(image.width * 0.05), "white"), 90),
    "mirrored": (lambda image, _: ImageOps.mirror(image), 90),
    "turned by a quarter": (lambda image, _: image.transpose(Image.ROTATE_90), 90),
    "90% of the area": (crop(0.9), 90),
    "75% of the area": (crop(0.75), 90),
    "50% of the area": (crop(0.5), 90),
    "30% of the area": (crop(0.3), 90),
}


def material(name):
    return pathlib.Path(subprocess.run([sys.executable, TOOLS / "materials.py", name], check=True, capture_output=True,
                                       text=True).stdout.strip())


def make(photos, seeds, folder):
    """[(file, the photo that it is of, its kind or None)]"""
    items = [(photo, photo, None) for photo in photos]
    for number, photo in enumerate(random.Random(1).sample(photos, seeds)):
        image = Image.open(photo).convert("RGB")
        for i, (kind, (change, quality)) in enumerate(KINDS.items()):
            path = folder / f"{number:03}-{i:02}.jpg"
            change(image, random.Random(100 * number + i)).save(path, quality=quality)
            items.append((path, photo, kind))
    return items


def judge(items, related):
    """Recall of each kind, and how many pairs of different photos are related; `related` is symmetric."""
    of = [photo for _, photo, _ in items]
    original = {photo: i for i, photo in enumerate(of) if items[i][2] is None}
    found = collections.defaultdict(list)
    for i, (_, photo, kind) in enumerate(items):
        if kind:
            found[kind].append(bool(related[i, original[photo]]))
    numbers = np.array([original[photo] for photo in of])
    same = numbers[:, None] == numbers[None]
    for a, b in SAME:
        a, b = ([i for i in original.values() if of[i].stem == name] for name in (a, b))
        for i in a:
            for j in b:
                same |= np.isin(numbers, (i, j))[:, None] & np.isin(numbers, (i, j))[None]
    wrong = int(np.triu(related & ~same, 1).sum())
    return {kind: np.mean(hits) for kind, hits in found.items()}, wrong


def best_threshold(items, scores):
    """The one of most pairs rightly told, less those wrongly."""
    def gain(threshold):
        recall, wrong = judge(items, scores >= threshold)
        return sum(recall.values()) * len(items) / (len(recall) + 1) - wrong
    return max(np.quantile(scores, 1 - np.geomspace(1e-5, 0.05, 40)), key=gain)


def cosines(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def of_kindred(kindred, items, vectors, folder):
    names = folder / "names.txt"
    names.write_text("".join(f"{path}\n" for path, _, _ in items))
    out = json.loads(subprocess.run([kindred, "duplicates", vectors, "--names", names, "--json", "--quiet"], check=True,
                                    capture_output=True).stdout)
    number = {str(path): i for i, (path, _, _) in enumerate(items)}
    related = np.zeros([len(items)] * 2, bool)
    for group in out["groups"]:
        members = [number[copy["path"]] for copy in group]
        related[np.ix_(members, members)] = True
    print(f"searched in {out['seconds']:.1f} s", file=sys.stderr)
    return related


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--seeds", type=int, default=60)
    options = parser.parse_args()
    kindred = pathlib.Path(options.build) / "kindred"
    photos = sorted(material("gcompris-photos").rglob("*.webp"))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        items = make(photos, options.seeds, folder)
        vectors = folder / "vectors.npy"
        subprocess.run([kindred, "embed", "--quiet", "--model", material("vit-s-focus"), "-o", vectors,
                        *(path for path, _, _ in items)], check=True)
        x = np.load(vectors)
        hashes = np.array([imagehash.phash(Image.open(path).convert("RGB")).hash.ravel() for path, _, _ in items])
        far = (hashes[:, None] != hashes[None]).sum(axis=2)
        plain, centred = cosines(x), cosines(x - x.mean(axis=0))
        methods = {"kindred": of_kindred(kindred, items, vectors, folder), "hash, to 10 bits": far <= 10}
        for what, scores in (("cosine", plain), ("cosine, centred", centred)):
            threshold = best_threshold(items, scores)
            methods[f"{what} from {threshold:.4f}"] = scores >= threshold
    results = {method: judge(items, related) for method, related in methods.items()}
    print("| | " + " | ".join(results) + " |\n|---" + "|---" * len(results) + "|")
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(f"{recall[kind]:.2f}" for recall, _ in results.values()) + " |")
    print("| pairs of different photos joined | " + " | ".join(str(wrong) for _, wrong in results.values()) + " |")


if __name__ == "__main__":
    main()
