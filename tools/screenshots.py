#!/usr/bin/env python3
"""Write the page of every analysis over real photos, and screenshots of it in headless Chromium.

    tools/screenshots.py docs/images                    what the docs show: wide and light, narrow and dark
    tools/screenshots.py /tmp/shots --all               also narrow and light, wide and dark; whole pages, as PNG
    tools/screenshots.py /tmp/shots --all -p cluster    of one page alone

Needs Chromium, NumPy and Pillow. Photos and models are fetched by tools/materials.py; `classify` takes labels in words through
the bridge that ./run makes, and is left out where that isn't there.
"""
import argparse
import datetime
import pathlib
import subprocess
import sys
import tempfile

from materials import default_cache, ensure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "cli"))
from browser import Browser  # noqa: E402

WIDTHS = {"wide": (1280, 800), "narrow": (400, 800)}
SHOWN = (("wide", "light"), ("narrow", "dark"))


def of_classes(photos, *numbers):
    """The first so many photos of each class, one class after another."""
    return [path for name, n in numbers for path in sorted((photos / "labelled" / name).iterdir())[:n]]


def make_stream(photos, folder):
    """Tools, then fish, one a day."""
    paths = of_classes(photos, ("tools", 39), ("fish", 28))
    day = datetime.date(2024, 3, 1)
    (folder / "times.txt").write_text("".join(f"{day + datetime.timedelta(i)}\n" for i in range(len(paths))))
    return paths


def make_copies(photos, folder):
    """Photos beside what was made of them."""
    from PIL import Image, ImageEnhance, ImageOps
    (folder / "copies").mkdir()
    for path in of_classes(photos, ("animals", 5), ("monuments", 5)):
        image = Image.open(path).convert("RGB")
        image.save(folder / "copies" / f"{path.stem}.jpg", quality=95)
        w, h = image.size
        for name, copy in (("small", image.resize((w // 2, h // 2))), ("dark", ImageEnhance.Brightness(image).enhance(0.6)),
                           ("part", image.crop((w // 5, h // 6, w, h))), ("mirrored", ImageOps.mirror(image))):
            copy.save(folder / "copies" / f"{path.stem}-{name}.jpg", quality=75)
    return [folder / "copies"]


class Vectors:
    """Each photo is embedded once."""

    def __init__(self, kindred, model, folder):
        self.kindred, self.model, self.folder, self.known = kindred, model, folder, {}

    def embed(self, paths):
        import numpy
        file = self.folder / "new.npy"
        subprocess.run([self.kindred, "embed", "-m", self.model, "-q", "-o", file, *paths], check=True)
        self.known.update(zip(paths, numpy.load(file)))

    def of(self, name, paths):
        """Arguments for the vectors of these."""
        import numpy
        new = [path for path in paths if path not in self.known]
        if new:
            self.embed(new)
        numpy.save(self.folder / f"{name}.npy", [self.known[path] for path in paths])
        (self.folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in paths))
        (self.folder / f"{name}.labels").write_text("".join(f"{path.parent.name}\n" for path in paths))
        return [self.folder / f"{name}.npy", "--names", self.folder / f"{name}.txt"]


def commands(kindred, cache, folder):
    """(page, what gives the arguments that write it)"""
    photos, model = ensure("gcompris-photos", cache), ensure("vit-s-focus", cache)
    labelled, everything = sorted(photos.glob("labelled/*/*.webp")), sorted(photos.rglob("*.webp"))
    vectors = Vectors(kindred, model, folder)
    known = ["--labels-from", folder / "labelled.labels"]
    yield "classify-examples", lambda: ["classify", "--linear", "--train", photos / "labelled", "--model", model]
    bridges = sorted((cache / "run").glob("bridge-*/"))
    bridge = [folder / "bridge"] if bridges else []
    if bridges:
        bridge[0].symlink_to(bridges[0])
        yield "classify-words", lambda: ["classify", photos / "more", "a castle or palace", "a bird", "a wild animal",
                                         "a tool or machine", "--threshold", "0.5", "--model", bridge[0]]
    else:
        print("classify-words: there is no bridge yet (./run makes one)", file=sys.stderr)
    yield "cluster", lambda: ["cluster", *vectors.of("labelled", labelled), "--centre", *known]
    unusual = of_classes(photos, ("monuments", 49), ("fish", 2), ("tools", 2))
    yield "anomalies", lambda: ["anomalies", *vectors.of("unusual", unusual), "--threshold", "mad:3"]
    yield "recent", lambda: ["anomalies", "recent", *vectors.of("stream", make_stream(photos, folder)), "--times",
                             folder / "times.txt", "--window", "22"]
    yield "duplicates", lambda: ["duplicates", *make_copies(photos, folder), "--model", model]
    yield "sample", lambda: ["sample", *vectors.of("all", everything), "-n", "24"]
    yield "uniqueness", lambda: ["sample", *vectors.of("all", everything), "-n", "24", "--uniqueness"]
    yield "map", lambda: ["map", *vectors.of("labelled", labelled), *known]
    yield "compare", lambda: ["model", "compare", model, *bridge, "gcompris-photos/labelled", "--centre"]


def shoot(browser, out, name, page, everything):
    for size, (width, height) in WIDTHS.items():
        for scheme in ("light", "dark"):
            if not everything and (size, scheme) not in SHOWN:
                continue
            browser.emulate(width, height, scheme == "dark", touch=size == "narrow")
            browser.open(page)
            if everything and name != "map":
                tall = browser.value("document.documentElement.scrollHeight")
                browser.emulate(width, min(tall, 3000), scheme == "dark", touch=size == "narrow")
            browser.value("new Promise(r => setTimeout(r, 400))")
            browser.screenshot(out / f"{name}-{size}-{scheme}.{'png' if everything else 'webp'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("-p", "--page", action="append", help="this page alone; may be given again")
    parser.add_argument("--build", default="build", type=pathlib.Path)
    options = parser.parse_args()
    kindred = options.build.resolve() / "kindred"
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        blank = folder / "blank.html"
        blank.write_text("")
        with Browser(blank) as browser:
            for name, args in commands(kindred, default_cache(), folder):
                if options.page and name not in options.page:
                    continue
                page = folder / f"{name}.html"
                subprocess.run([kindred, *args(), "--html", page, "-q"], check=True, stdout=subprocess.DEVNULL,
                               cwd=default_cache())
                shoot(browser, options.out, name, page, options.all)
                print(name, flush=True)


if __name__ == "__main__":
    main()
