"""Make tests/data/photos: small real photos, each in another format or orientation, for the vectors' parity tests.

    python3 make_photos.py GCOMPRIS_PHOTOS

GCOMPRIS_PHOTOS is the folder that tools/materials.py gcompris-photos prints. Needs Pillow 13, pillow-heif and
scikit-learn. Only pictures in the public domain or under CC BY are taken; CREDITS.md names their authors.
"""
import pathlib
import sys

import pillow_heif
from PIL import Image
from sklearn.datasets import load_sample_image

OUT = pathlib.Path(__file__).parents[2] / "tests/data/photos"
SIDE = 288  # the longer side: larger than the encoders' input one way, smaller the other

JPEG, HEIF_444 = {"quality": 85}, {"quality": 80, "chroma": 444}
PHOTOS = [  # file, source, orientation, mode, options of save
    ("crocodile.jpg", "labelled/animals/crocodile", 1, "RGB", JPEG),
    ("moose.jpg", "labelled/animals/moose", 2, "RGB", JPEG),
    ("panda.jpg", "labelled/animals/panda", 3, "RGB", JPEG),
    ("dam.jpg", "labelled/energy/dam2", 4, "RGB", JPEG),
    ("solar-cooker.jpg", "labelled/energy/solar2", 5, "RGB", JPEG),
    ("windmill.jpg", "labelled/energy/windmill", 6, "RGB", JPEG),
    ("igloo.jpg", "more/objects/igloo", 7, "RGB", JPEG),
    ("goldfish.jpg", "labelled/fish/fish25", 8, "RGB", JPEG),
    ("pan.jpg", "more/objects/pan", 1, "RGB", {**JPEG, "progressive": True}),
    ("china.jpg", "china.jpg", 1, "CMYK", JPEG),
    ("scissors.jpg", "labelled/tools/scissors2", 1, "L", JPEG),
    ("flower.png", "flower.jpg", 1, "RGB", {"optimize": True}),
    ("screwdriver.png", "labelled/tools/screwDriver", 6, "P", {"optimize": True}),
    ("volleyball.png", "more/objects/volleyball", 1, "LA", {"optimize": True}),
    ("great-wall.webp", "more/monuments/greatWall", 1, "RGB", {"quality": 85}),
    ("pisa.webp", "more/monuments/leaningTowerOfPisa", 8, "RGB", {"quality": 85}),
    ("wrench.webp", "labelled/tools/wrench", 1, "RGB", {"lossless": True}),
    ("louvre.gif", "more/monuments/leMusee", 1, "P", {}),
    ("perch.heic", "labelled/fish/fish4", 1, "RGB", HEIF_444),
    # Grey: Pillow's AVIF library and libheif round colours differently, by a level.
    ("winter-palace.avif", "more/monuments/zimniPalace", 1, "RGB", {"quality": 80, "subsampling": "4:0:0"}),
]
# The transposition that undoes each orientation's.
STORED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
          7: "TRANSVERSE", 8: "ROTATE_270"}


def stored(image, orientation, mode):
    """As a camera held that way would store the picture."""
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if orientation in STORED:
        image = image.transpose(Image.Transpose[STORED[orientation]])
    if mode == "LA":
        alpha = image.convert("L").point(lambda v: 255 if v < 240 else 0)
        image = image.convert("L").convert("LA")
        image.putalpha(alpha)
        return image
    return image.quantize(128) if mode == "P" else image.convert(mode)


def main():
    pillow_heif.register_heif_opener()
    OUT.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(sys.argv[1])
    for name, source, orientation, mode, options in PHOTOS:
        if "/" in source:
            image = Image.open(folder / f"{source}.webp").convert("RGB")
        else:
            image = Image.fromarray(load_sample_image(source))
        if orientation != 1:
            exif = Image.Exif()
            exif[0x0112] = orientation
            options = {**options, "exif": exif}
        stored(image, orientation, mode).save(OUT / name, **options)


if __name__ == "__main__":
    main()
