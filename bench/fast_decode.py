#!/usr/bin/env python3
"""How near --fast-decode comes to exact decoding: cosines of the two vectors of each photo.

    python3 bench/fast_decode.py PHOTOS... [--models DIR...]

PHOTOS are folders. What isn't a JPEG is made one first, at its full size and quality 92 (that needs Pillow). The median,
the 5th percentile and the least cosine are printed for each model and folder, and how many photos were large enough to be
decoded otherwise at all.
"""
import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def as_jpegs(folder, into):
    into.mkdir()
    for i, path in enumerate(sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)):
        if path.suffix.lower() in (".jpg", ".jpeg"):
            (into / f"{i:05}.jpg").symlink_to(path.resolve())
        else:
            Image.open(path).convert("RGB").save(into / f"{i:05}.jpg", quality=92)
    return into


def embed(options, model, folder, scratch, *more):
    out = scratch / "vectors.npy"
    subprocess.run([options.build / "kindred", "embed", "-q", "--follow", "--model", model, "-o", out, folder, *more], check=True)
    return np.load(out)


def main():
    cache = pathlib.Path.home() / ".cache/kindred"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=pathlib.Path)
    parser.add_argument("--models", nargs="+", type=pathlib.Path,
                        default=[cache / "vit-s-focus", cache / "seeded/clip-vit-b-32"])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="default: build")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for n, photos in enumerate(options.photos):
            folder = as_jpegs(photos, scratch / str(n))
            for model in options.models:
                exact, fast = (embed(options, model, folder, scratch, *more) for more in ([], ["--fast-decode"]))
                cosines = (exact * fast).sum(1)
                cosines = cosines[(exact != fast).any(1)]
                if len(cosines) == 0:
                    print(f"{photos.name}, {model.name}: no photo is large enough")
                    continue
                low, median = np.percentile(cosines, (5, 50))
                print(f"{photos.name}, {model.name}: {len(cosines)} of {len(exact)} photos; cosine median {median:.5f}, "
                      f"5th percentile {low:.5f}, least {cosines.min():.5f}", flush=True)


if __name__ == "__main__":
    main()
