#!/usr/bin/env python3
"""Reference for kin_perceptual_hash: tests/data/refs/phash.json holds what imagehash.phash says of committed pictures,
turned upright by their EXIF orientation. Needs imagehash and Pillow."""
import json
import pathlib

import imagehash
from PIL import Image, ImageOps

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests/data"
PICTURES = (*sorted((DATA / "photos").glob("*.[jpw]*g*")), *sorted((DATA / "photos").glob("*.webp")),
            *(DATA / "images" / name for name in (
                "photo.jpg", "photo_portrait.jpg", "progressive.jpg", "grey.jpg", "cmyk_adobe.jpg", "ycck_adobe.jpg",
                "exif_3.jpg", "exif_6.jpg", "exif_8.jpg", "rgb8.png", "grey8.png", "palette8.png", "plain.gif",
                "lossless.webp", "lossy.webp", "10x3000.png", "20000x10.png", "1x300.png")))


def phash(path):
    with Image.open(path) as image:
        return str(imagehash.phash(ImageOps.exif_transpose(image).convert("RGB")))


def main():
    hashes = {str(path.relative_to(DATA)): phash(path) for path in dict.fromkeys(PICTURES)}
    (DATA / "refs/phash.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
