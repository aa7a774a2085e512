#!/usr/bin/env python3
"""Photos to measure with, from pictures that packages ship: 1,000 JPEGs of about 500 x 375 and 100 of 12 megapixels.

    python3 bench/files_photos.py SOURCE... FOLDER

SOURCE are pictures or folders of them, e.g. ~/.cache/kindred/gcompris-photos (tools/materials.py). FOLDER gets small/ and
large/. Small ones are crops of real photos, scaled down to 500 on the longer side, one in four upright; large ones are
4000 x 3000 made of four crops side by side, since most sources are smaller, and one in four is stored turned with an
EXIF orientation, as phones do. Quality 90, colours at half the resolution. Needs Pillow. The same sources give the same
files.
"""
import pathlib
import random
import sys

from PIL import Image

ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def load(sources):
    paths = [p for s in sources for p in (sorted(s.rglob("*")) if s.is_dir() else [s])]
    pictures = [Image.open(p).convert("RGB") for p in paths if p.suffix.lower() in ENDINGS]
    return [p for p in pictures if min(p.size) >= 375]


def crop(picture, size, rng):
    """A random part with the shape of `size`, at least three fifths of the picture, scaled to it."""
    scale = min(picture.width / size[0], picture.height / size[1]) * rng.uniform(0.6, 1)
    width, height = int(size[0] * scale), int(size[1] * scale)
    x, y = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    return picture.resize(size, Image.Resampling.LANCZOS, (x, y, x + width, y + height))


def save(picture, path, **more):
    picture.save(path, quality=90, subsampling="4:2:0", **more)


def make_small(pictures, folder, rng):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(1000):
        size = (375, 500) if i % 4 == 3 else (500, rng.choice((333, 375, 375)))
        save(crop(rng.choice(pictures), size, rng), folder / f"{i:04}.jpg")


def make_large(pictures, folder, rng):
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [p for p in pictures if min(p.size) >= 700] or pictures
    turned = Image.Exif()
    turned[0x0112] = 6
    for i in range(100):
        picture = Image.new("RGB", (4000, 3000))
        for corner in ((0, 0), (2000, 0), (0, 1500), (2000, 1500)):
            picture.paste(crop(rng.choice(pictures), (2000, 1500), rng), corner)
        save(picture, folder / f"{i:03}.jpg", **({"exif": turned} if i % 4 == 3 else {}))


def main():
    *sources, folder = map(pathlib.Path, sys.argv[1:])
    pictures = load(sources)
    if not pictures:
        sys.exit("no pictures of at least 375 pixels there")
    rng = random.Random(1)
    make_small(pictures, folder / "small", rng)
    make_large(pictures, folder / "large", rng)


if __name__ == "__main__":
    main()
