#!/usr/bin/env python3
"""Logistic regression beside scikit-learn's: the same vectors, threads and penalty, by turns.

    cmake --preset release && cmake --build build
    python3 -m venv peers && peers/bin/pip install scikit-learn
    peers/bin/python bench/classify.py --threads 2

Prints seconds (minimum, median, maximum), the objective reached (less is better: it is what both minimise), and the
iterations. Nothing else should run meanwhile.
"""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

ROOT = pathlib.Path(__file__).parents[1]


def vectors(n, dim, classes):
    """Overlapping classes away from the origin, of length 1, as embeddings are."""
    random = np.random.default_rng(1)
    x = random.standard_normal((classes, dim), np.float32)[np.arange(n) % classes]
    x += 4 * random.standard_normal((n, dim), np.float32) + 0.5
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ours(options, path, tolerance):
    command = [options.build / "bench/bench-classify", str(options.threads), path, str(options.classes), str(tolerance)]
    return [float(word) for word in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]


def peer(options, x, tolerance):
    labels = np.arange(len(x)) % options.classes
    with threadpool_limits(options.threads):
        start = time.perf_counter()
        model = LogisticRegression(tol=tolerance, max_iter=5000).fit(x, labels)
        seconds = time.perf_counter() - start
    p = model.predict_proba(x.astype(np.float64))[np.arange(len(x)), labels]
    return seconds, -np.log(p).sum() + (model.coef_.astype(np.float64) ** 2).sum() / 2, model.n_iter_[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--n", type=int, default=20000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, x = pathlib.Path(folder) / "x.npy", vectors(options.n, options.dim, options.classes)
        np.save(path, x)
        calls = {"kindred, 1e-6": lambda: ours(options, path, 1e-6), "kindred, 1e-4": lambda: ours(options, path, 1e-4),
                 "scikit-learn, 1e-4": lambda: peer(options, x, 1e-4)}
        results = {name: [] for name in calls}
        for _ in range(options.runs):
            for name, call in calls.items():
                results[name].append(call())
    print(f"{options.n} x {options.dim} in {options.classes} classes, {options.threads} threads")
    for name, rows in results.items():
        seconds = [row[0] for row in rows]
        print(f"{name:20} {min(seconds):8.3f} {statistics.median(seconds):8.3f} {max(seconds):8.3f} s   "
              f"objective {rows[0][1]:12.3f}   {rows[0][2]:.0f} iterations")


if __name__ == "__main__":
    main()
