#!/usr/bin/env python3
"""How well kindred classify tells classes of real data: the figures of docs/analysis.md.

    cmake --preset release && cmake --build build
    python3 -m venv peers && peers/bin/pip install scikit-learn
    peers/bin/python bench/classify_accuracy.py

Materials (tools/materials.py) are fetched once; the bridge is made anew. scikit-learn has the digits, and is measured
beside ours on the same vectors and folds.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

ROOT = pathlib.Path(__file__).parents[1]
PHOTOS = {"animals": "동물", "energy": "재생 에너지", "fish": "물고기", "monuments": "기념물", "tools": "공구"}
ENGLISH = {"animals": "an animal", "energy": "renewable energy", "fish": "a fish", "monuments": "a monument",
           "tools": "a tool"}
TOPICS = {"computers": "컴퓨터", "education": "교육", "food": "음식", "law": "법", "love": "사랑", "medicine": "의학",
          "pets": "반려동물", "politics": "정치", "science": "과학", "sports": "스포츠"}


def material(name):
    command = [sys.executable, ROOT / "tools/materials.py", name]
    return pathlib.Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


class Runner:
    def __init__(self, options, folder):
        self.binary, self.threads, self.folder = options.build / "kindred", options.threads, folder

    def kindred(self, *args):
        command = [self.binary, *args, "--quiet", "--threads", str(self.threads)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=self.folder).stdout

    def json(self, *args):
        return json.loads(self.kindred("classify", "--json", *args))

    def write(self, name, lines):
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return name


def row(what, how, accuracy, n, note=""):
    print(f"{what:22} {how:34} {accuracy:6.3f}  of {n:5}  {note}", flush=True)


def trained(r, what, vectors, labels):
    """Ours and scikit-learn's on one .npy with a line of labels each, over the same five unshuffled folds."""
    values, classes = np.load(r.folder / vectors).astype(np.float64), (r.folder / labels).read_text().split("\n")[:-1]
    for how in (["--linear"], ["--linear", "--c", "1"], ["--knn", "5"], ["--knn", "5", "--centre"]):
        shown = r.json("--train", vectors, "--train-labels", labels, *how)
        v, note = shown["validation"], f"deviation {shown['validation']['deviation']:.3f}"
        if how == ["--linear"]:
            note += f", c {shown['classifier']['c']:g}"
        row(what, " ".join(how), v["accuracy"], v["n"], note)
    for how, model in (("scikit-learn, C=1", LogisticRegression(max_iter=20000)),
                       ("scikit-learn, 5 by cosine", KNeighborsClassifier(5, metric="cosine"))):
        folds = list(StratifiedKFold(5).split(values, classes))
        scores = cross_val_score(model, values, classes, cv=folds)
        total = sum(score * len(test) for score, (_, test) in zip(scores, folds)) / len(classes)
        row(what, how, total, len(classes))


def digits(r):
    data = load_digits()
    np.save(r.folder / "digits.npy", data.data.astype(np.float32))
    r.write("digits.labels", data.target)
    trained(r, "digits, pixels", "digits.npy", "digits.labels")


def photos(r, folder):
    labels = [path.parent.name for path in sorted(folder.rglob("*.webp"))]
    r.kindred("embed", "-m", material("vit-s-focus"), "-o", "photos.npy", folder)
    trained(r, "photos, vit-s-focus", "photos.npy", r.write("photos.labels", labels))


def sayings(r, folder):
    r.kindred("embed", "-m", material("minilm"), "-o", "sayings.npy", "--texts", folder / "sayings.txt")
    r.write("sayings.labels", (folder / "labels.txt").read_text().split())
    trained(r, "sayings, MiniLM", "sayings.npy", "sayings.labels")


def told(r, what, how, model, items, truths, labels, *more):
    """Zero-shot: `truths` name keys of `labels`, whose values are the words."""
    known = r.write("known", [labels[t] for t in truths])
    shown = r.json("-m", model, *items, "--labels", r.write("words", labels.values()), "--labels-from", known, *more)
    row(what, how, shown["known"]["accuracy"], shown["known"]["n"], f"scale {shown['scale']:g}")


def zero_shot_photos(r, folder):
    """Over a bridge, on those of the photos that it hasn't learnt from."""
    stamps, encoder, texts = material("tuxpaint-stamps"), material("vit-s-focus"), material("e5-small")
    script = [sys.executable, ROOT / "tools/bridge_captions.py"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    captions = subprocess.run([*script, stamps, folder.parent], check=True, stdout=subprocess.PIPE, env=environment).stdout
    (r.folder / "captions.jsonl").write_bytes(captions)
    r.kindred("align", "-i", encoder, "-t", texts, "-c", "captions.jsonl", "-o", "bridge")
    unseen = subprocess.run([*script, "--unseen", folder.parent], check=True, stdout=subprocess.PIPE, env=environment,
                            text=True).stdout.splitlines()
    unseen = sorted(path for path in unseen if path.startswith(str(folder)))
    truths = [pathlib.Path(path).parent.name for path in unseen]
    for language, labels in (("English", ENGLISH), ("Korean", PHOTOS)):
        told(r, "photos, bridge", f"zero-shot, {language}", r.folder / "bridge", unseen, truths, labels)
        told(r, "photos, bridge", f"zero-shot, {language}, bare", r.folder / "bridge", unseen, truths, labels,
             "--template", "{}")


def zero_shot_sayings(r, folder):
    truths, items = (folder / "labels.txt").read_text().split(), ("--texts", folder / "sayings.txt")
    english = {topic: topic for topic in TOPICS}
    for name in ("minilm", "e5-small"):
        for language, labels in (("English", english), ("Korean", TOPICS)):
            if name == "minilm" and language == "Korean":
                continue
            told(r, f"sayings, {name}", f"zero-shot, {language}", material(name), items, truths, labels)
            told(r, f"sayings, {name}", f"zero-shot, {language}, bare", material(name), items, truths, labels,
                 "--template", "{}")


PARTS = {"digits": (digits, None), "photos": (photos, "gcompris-photos"), "sayings": (sayings, "fortunes"),
         "photos-by-words": (zero_shot_photos, "gcompris-photos"), "sayings-by-words": (zero_shot_sayings, "fortunes")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.build = options.build.absolute()
    with tempfile.TemporaryDirectory() as folder:
        r = Runner(options, pathlib.Path(folder))
        for part in options.parts or PARTS:
            run, name = PARTS[part]
            if not name:
                run(r)
            else:
                run(r, material(name) / ("labelled" if name == "gcompris-photos" else ""))


if __name__ == "__main__":
    main()
