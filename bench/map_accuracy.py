#!/usr/bin/env python3
"""kindred map on real data beside umap-learn: scikit-learn's trustworthiness of both, as docs/analysis.md has it.

  bench/map_accuracy.py [--build build] [--seeds 3]

Needs numpy, scikit-learn and umap-learn. Data: see bench/cluster_accuracy.py."""
import argparse
import csv
import pathlib
import statistics
import subprocess
import tempfile

import numpy as np
from sklearn.manifold import trustworthiness

import cluster_accuracy


def ours(kindred, args, seed, folder):
    out = folder / "map.csv"
    subprocess.run([kindred, "map", *args, "--seed", str(seed), "--csv", out, "--quiet"], check=True)
    with open(out, newline="") as file:
        return np.array([[float(row["x"]), float(row["y"])] for row in csv.DictReader(file)])


def theirs(vectors, metric, seed):
    import umap
    return umap.UMAP(metric=metric, random_state=seed).fit_transform(vectors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    kindred = pathlib.Path(options.build).resolve() / "kindred"
    print("| data | neighbours | kindred | umap-learn |\n|---|---|---|---|")
    for data in (cluster_accuracy.digits, cluster_accuracy.photos, cluster_accuracy.sayings):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            args, *_ = data(kindred, folder)
            metric = "euclidean" if "euclidean" in args else "cosine"
            vectors = np.load(folder / "vectors.npy")
            if "--centre" in args:
                vectors -= vectors.mean(0)
            maps = [[ours(kindred, args, seed, folder), theirs(vectors, metric, seed)] for seed in range(options.seeds)]
            for k in (5, 15):
                trust = [[trustworthiness(vectors, places, n_neighbors=k, metric=metric) for places in pair] for pair in maps]
                print(f"| {data.__name__} | {k} |", " | ".join(
                    f"{statistics.mean(t):.4f} ({min(t):.4f}-{max(t):.4f})" for t in zip(*trust)), "|", flush=True)


if __name__ == "__main__":
    main()
