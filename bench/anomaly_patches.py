#!/usr/bin/env python3
"""kindred anomalies --method patches on one scene: a photo taken again and again, a little shifted, lighter or darker, and
then with a small piece of another photo somewhere in it. Prints how many of each raise an alarm and the ROC-AUC; leaves
the heat maps in FOLDER.

  bench/anomaly_patches.py FOLDER [--build build]

Needs Pillow and scikit-learn. Photos and model (a ViT-S) are fetched by tools/materials.py."""
import argparse
import json
import pathlib
import random
import subprocess

from cluster_accuracy import material
from PIL import Image, ImageEnhance
from sklearn.metrics import roc_auc_score

USUAL, NEW, SHIFT, LIGHT, PIECE = 30, 8, 0.05, 0.12, 9


def taken_again(image, r):
    w, h = image.size
    x, y = r.uniform(0, SHIFT), r.uniform(0, SHIFT)
    part = image.crop((int(x * w), int(y * h), int((x + 1 - SHIFT) * w), int((y + 1 - SHIFT) * h)))
    return ImageEnhance.Brightness(part).enhance(r.uniform(1 - LIGHT, 1 + LIGHT))


def with_piece(image, other, r):
    w, h = image.size
    side, out = min(w, h), image.copy()
    piece = other.resize((side // PIECE, side // PIECE))
    out.paste(piece, (w // 2 - side // 2 + int(r.uniform(0.1, 0.8) * side), int(r.uniform(0.1, 0.8) * side)))
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--build", default="build")
    options = parser.parse_args()
    photos, folder, r = material("gcompris-photos") / "labelled", options.folder, random.Random(1)
    scene = Image.open(sorted((photos / "tools").iterdir())[28]).convert("RGB")
    others = [Image.open(path).convert("RGB") for path in sorted((photos / "fish").iterdir())[:NEW]]
    for name in ("usual", "new"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(USUAL):
        taken_again(scene, r).save(folder / f"usual/{i:02}.png")
    for i in range(NEW):
        taken_again(scene, r).save(folder / f"new/plain{i}.png")
        taken_again(with_piece(scene, others[i], r), r).save(folder / f"new/piece{i}.png")
    kindred, model = pathlib.Path(options.build) / "kindred", ["--model", material("vit-s-focus"), "--quiet"]
    for method, more in (("patches", ["--heat-maps", folder / "heat"]), ("knn", [])):
        subprocess.run([kindred, "anomalies", "fit", folder / "usual", "--method", method, "-o", folder / "d.kin", *model],
                       check=True)
        out = subprocess.run([kindred, "anomalies", "score", folder / "d.kin", folder / "new", "--json", *more, *model],
                             check=True, capture_output=True).stdout
        ranked = json.loads(out)["ranked"]
        pieces = ["piece" in item["path"] for item in ranked]
        alarms = [sum(item["anomaly"] for item, piece in zip(ranked, pieces) if piece == wanted) for wanted in (True, False)]
        print(f"{method}: alarms for {alarms[0]} of {NEW} with a piece and {alarms[1]} of {NEW} without, "
              f"ROC-AUC {roc_auc_score(pieces, [item['score'] for item in ranked]):.3f}")


if __name__ == "__main__":
    main()
