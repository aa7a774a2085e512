#!/usr/bin/env python3
"""kindred cluster on real data whose classes are known: accuracy, NMI and ARI of each method, as docs/analysis.md has
them.

  bench/cluster_accuracy.py [--build build]

Needs numpy, and scikit-learn for its digits. Data: those digits, 169 photos in five classes through a ViT-S, and 1,558 sayings in ten
topics through all-MiniLM-L6-v2 (tools/materials.py fetches photos, sayings and models)."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"
KMEANS = ["--method", "kmeans", "--starts", "10"]


def material(name):
    return pathlib.Path(subprocess.run([sys.executable, TOOLS / "materials.py", name], check=True, capture_output=True,
                                       text=True).stdout.strip())


def save(folder, vectors, labels, *options):
    np.save(folder / "vectors.npy", np.asarray(vectors, "<f4"))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    return [folder / "vectors.npy", "--labels-from", folder / "labels.txt", *options]


def embed(kindred, folder, *args):
    """What kindred embed makes of its arguments, once for all methods."""
    subprocess.run([kindred, "embed", "--quiet", "-o", folder / "vectors.jsonl", *args], check=True)
    return [json.loads(line) for line in (folder / "vectors.jsonl").read_text().splitlines()]


def digits(_, folder):
    from sklearn.datasets import load_digits
    data = load_digits()
    return save(folder, data.data, data.target, "--metric", "euclidean"), 10, 15


def photos(kindred, folder):
    rows = embed(kindred, folder, material("gcompris-photos") / "labelled", "--model", material("vit-s-focus"))
    labels = [pathlib.Path(row["path"]).parent.name for row in rows]
    return save(folder, [row["vector"] for row in rows], labels, "--centre"), 5, 5


def sayings(kindred, folder):
    source = material("fortunes")
    rows = embed(kindred, folder, "--texts", source / "sayings.txt", "--model", material("minilm"))
    return save(folder, [row["vector"] for row in rows], (source / "labels.txt").read_text().split()), 10, 8


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    options = parser.parse_args()
    print("| data | method | clusters | in none | accuracy | NMI | ARI | silhouette |\n|---|---|---|---|---|---|---|---|")
    for data in (digits, photos, sayings):
        with tempfile.TemporaryDirectory() as folder:
            kindred = pathlib.Path(options.build) / "kindred"
            args, k, least = data(kindred, pathlib.Path(folder))
            for name, method in (("k-means", [*KMEANS, "-k", k]), ("k-means, k by silhouette", KMEANS),
                                 ("mini-batch k-means", ["--method", "minibatch", "-k", k, "--batch", 256]),
                                 ("HDBSCAN", ["--method", "hdbscan", "--min-cluster-size", least]),
                                 ("agglomerative, average", ["--method", "agglomerative", "-k", k]),
                                 ("agglomerative, ward", ["--method", "agglomerative", "--linkage", "ward", "-k", k])):
                command = [kindred, "cluster", *args, *method, "--json", "--quiet"]
                out = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout)
                known = out["known"]
                print(f"| {data.__name__} | {name} | {out['k']} | {len(out['noise'])} | {known['accuracy']:.3f} |"
                      f" {known['nmi']:.3f} | {known['ari']:.3f} | {out.get('silhouette', float('nan')):.3f} |", flush=True)


if __name__ == "__main__":
    main()
