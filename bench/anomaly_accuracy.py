#!/usr/bin/env python3
"""kindred anomalies on real data: how well each method tells what is of another class (ROC-AUC, and alarms at a wanted rate
of false ones), as docs/analysis.md has it.

  bench/anomaly_accuracy.py [--build build]

Each class in turn is taken for usual: a detector is fitted to two thirds of it, and has to tell the rest of it from all
other classes; figures are means over the classes. Needs numpy and scikit-learn. Data: scikit-learn's digits, 169 photos in
five classes through a ViT-S, and 1,558 sayings in ten topics through all-MiniLM-L6-v2 (tools/materials.py fetches photos,
sayings and models)."""
import argparse
import csv
import pathlib
import subprocess
import tempfile

import numpy as np
from cluster_accuracy import embed, material
from sklearn.metrics import roc_auc_score

METHODS = [["mean"], ["mahalanobis"], ["clusters"], ["knn"], ["lof"]]
RATE = 0.2


def digits(_, folder):
    from sklearn.datasets import load_digits
    data = load_digits()
    return data.data, data.target, ["--metric", "euclidean"]


def photos(kindred, folder):
    rows = embed(kindred, folder, material("gcompris-photos") / "labelled", "--model", material("vit-s-focus"))
    return [row["vector"] for row in rows], [pathlib.Path(row["path"]).parent.name for row in rows], []


def sayings(kindred, folder):
    source = material("fortunes")
    rows = embed(kindred, folder, "--texts", source / "sayings.txt", "--model", material("minilm"))
    return [row["vector"] for row in rows], (source / "labels.txt").read_text().split(), []


def run(kindred, folder, *args):
    subprocess.run([kindred, "anomalies", *map(str, args), "--quiet"], check=True, cwd=folder)


def measure(kindred, folder, x, labels, usual, method, options):
    """ROC-AUC; the share of alarms among usual and among other items at a conformal rate."""
    random = np.random.default_rng(0)
    own = random.permutation(np.flatnonzero(labels == usual))
    fitted, rest = own[:2 * len(own) // 3], own[2 * len(own) // 3:]
    others = np.flatnonzero(labels != usual)
    np.save(folder / "usual.npy", x[fitted])
    np.save(folder / "new.npy", x[np.concatenate([rest, others])])
    truth = np.repeat([0, 1], [len(rest), len(others)])
    scores = []
    for threshold in ("mad", f"conformal:{RATE}"):
        run(kindred, folder, "fit", "usual.npy", "--method", *method, "--threshold", threshold, "-o", "d.kin", *options)
        run(kindred, folder, "score", "d.kin", "new.npy", "--csv", "scores.csv")
        with open(folder / "scores.csv", newline="") as f:
            scores.append([(float(row["score"]), int(row["anomaly"])) for row in csv.DictReader(f)])
    alarms = np.array([alarm for _, alarm in scores[1]])
    return roc_auc_score(truth, [score for score, _ in scores[0]]), alarms[truth == 0].mean(), alarms[truth == 1].mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    kindred = (pathlib.Path(parser.parse_args().build) / "kindred").resolve()
    print("| data | method | ROC-AUC | the worst class | alarms, usual | alarms, others |\n|---|---|---|---|---|---|")
    for data in (digits, photos, sayings):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            x, labels, options = data(kindred, folder)
            x, labels = np.asarray(x, "<f4"), np.asarray(labels)
            for method in METHODS:
                rows = np.array([measure(kindred, folder, x, labels, usual, method, options) for usual in np.unique(labels)])
                auc, usual, others = rows.mean(axis=0)
                print(f"| {data.__name__} | `{' '.join(method)}` | {auc:.3f} | {rows[:, 0].min():.3f} | {usual:.2f} |"
                      f" {others:.2f} |", flush=True)


if __name__ == "__main__":
    main()
