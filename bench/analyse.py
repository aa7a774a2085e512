#!/usr/bin/env python3
"""Analyses beside scikit-learn's on the same vectors and threads: seconds, minimum / median / maximum, and what each
found.

  bench/analyse.py [--build build] [--threads 2] [--runs 3] [--scale 1] [ROW...]

A row is a function with @row: it yields the calls to compare, ours first, and they take turns. Ours are timed through
bench-analyse, a program on the library; peers are optional. --scale 0.1 runs on a tenth of the vectors. Needs numpy;
scikit-learn, umap-learn (and threadpoolctl) for the peers."""
import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np

ROWS = {}


def row(function):
    ROWS[function.__name__] = function
    return function


class Bench:
    def __init__(self, options):
        self.options, self.folder = options, pathlib.Path(tempfile.mkdtemp(prefix="kindred-bench-"))

    def count(self, n):
        return max(1000, int(n * self.options.scale))

    def vectors(self, n, dim=512, groups=300, spread=1.2, seed=1, unit=False):
        """Groups with overlapping edges, away from the origin, as embeddings are; `unit`: in turn, of length 1."""
        path = self.folder / f"{n}-{dim}-{groups}-{spread}-{seed}-{unit}.npy"
        if not path.exists():
            random = np.random.default_rng(seed)
            centres = random.standard_normal((groups, dim), np.float32)
            x = centres[np.arange(n) % groups if unit else random.integers(0, groups, n)]
            for first in range(0, n, 10000):
                part = x[first:first + 10000]
                part += spread * random.standard_normal(part.shape, np.float32) + 0.5
            if unit:
                x /= np.linalg.norm(x, axis=1, keepdims=True)
            np.save(path, x)
        return path, np.load(path)

    def ours(self, *args):
        """Run bench-analyse; returns its seconds and what it says."""
        program = pathlib.Path(self.options.build) / "bench" / "bench-analyse"
        out = subprocess.run([program, str(self.options.threads), *map(str, args)], check=True, capture_output=True,
                             text=True).stdout.split(maxsplit=1)
        return float(out[0]), out[1].strip()

    def peer(self, call):
        """Time a call on as many threads; returns its seconds and what it says."""
        from threadpoolctl import threadpool_limits
        with threadpool_limits(self.options.threads):
            start = time.perf_counter()
            said = call()
            return time.perf_counter() - start, said


@row
def neighbours(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"15 neighbours of {n} x 512", "kindred", lambda: bench.ours("neighbours", path, 15)

    def sklearn():
        from sklearn.neighbors import NearestNeighbors
        distances, _ = NearestNeighbors(n_neighbors=15, algorithm="brute").fit(x).kneighbors()
        return f"mean distance {distances.mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def kmeans(bench):
    n = bench.count(200000)
    path, x = bench.vectors(n, groups=400, spread=2.0)
    yield f"k-means of {n} x 512 into 100", "kindred", lambda: bench.ours("kmeans", path, 100)

    def sklearn():
        from sklearn.cluster import KMeans
        model = KMeans(100, n_init=1, random_state=0).fit(x)
        return f"inertia {model.inertia_:.6g}, {model.n_iter_} iterations"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def minibatch(bench):
    n = bench.count(200000)
    path, x = bench.vectors(n, groups=400, spread=2.0)
    yield f"mini-batch k-means of {n} x 512 into 100", "kindred", lambda: bench.ours("minibatch", path, 100)

    def sklearn():
        from sklearn.cluster import MiniBatchKMeans
        model = MiniBatchKMeans(100, n_init=1, random_state=0).fit(x)
        return f"inertia {model.inertia_:.6g}, {model.n_steps_} steps"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def hdbscan(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n, groups=60, spread=0.7)
    yield f"HDBSCAN of {n} x 512", "kindred", lambda: bench.ours("hdbscan", path, 10)

    def sklearn():
        from sklearn.cluster import HDBSCAN
        labels = HDBSCAN(min_cluster_size=10, n_jobs=bench.options.threads, copy=True).fit_predict(x)
        return f"{labels.max() + 1} clusters, {(labels < 0).sum()} noise"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def lof(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"local outlier factors of {n} x 512, 20 neighbours", "kindred", lambda: bench.ours("lof", path, 20)

    def sklearn():
        from sklearn.neighbors import LocalOutlierFactor
        model = LocalOutlierFactor(n_neighbors=20, n_jobs=bench.options.threads).fit(x)
        return f"mean score {-model.negative_outlier_factor_.mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def mahalanobis(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"Mahalanobis distances of {n} x 512, Ledoit-Wolf", "kindred", lambda: bench.ours("mahalanobis", path, 0)

    def sklearn():
        from sklearn.covariance import LedoitWolf
        values = x.astype(np.float64)
        return f"mean score {np.sqrt(LedoitWolf().fit(values).mahalanobis(values)).mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def sample(bench):
    n, picks = bench.count(50000), 500
    path, x = bench.vectors(n)
    yield f"{picks} representative picks of {n} x 512", "kindred", lambda: bench.ours("sample", path, picks)

    def numpy():
        """Farthest-first traversal, pick by pick."""
        squares = np.einsum("ij,ij->i", x, x)
        to = lambda point: squares - 2 * (x @ point) + point @ point
        pick, nearest = to(x.mean(0)).argmin(), np.full(n, np.inf, np.float32)
        for _ in range(picks):
            np.minimum(nearest, to(x[pick]), out=nearest)
            pick = nearest.argmax()
        return f"furthest {np.sqrt(nearest.max()):.4f}"

    yield "", "numpy", lambda: bench.peer(numpy)


@row
def uniqueness(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"uniqueness by 3 neighbours of {n} x 512", "kindred", lambda: bench.ours("uniqueness", path, 3)

    def sklearn():
        from sklearn.neighbors import NearestNeighbors
        distances, _ = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(x).kneighbors()
        return f"mean score {distances.mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def logistic(bench):
    """c 1; both minimise the objective that they show: less is nearer to the minimum."""
    n, classes = bench.count(20000), 20
    path, x = bench.vectors(n, groups=classes, spread=4.0, unit=True)
    yield f"logistic regression of {n} x 512 in {classes} classes", "kindred", lambda: bench.ours("logistic", path, classes)

    def timed():
        from sklearn.linear_model import LogisticRegression
        labels = np.arange(n) % classes
        seconds, model = bench.peer(lambda: LogisticRegression(max_iter=5000).fit(x, labels))
        p = model.predict_proba(x.astype(np.float64))[np.arange(n), labels]
        objective = (model.coef_.astype(np.float64) ** 2).sum() / 2 - np.log(p).sum()
        return seconds, f"objective {objective:.3f}, {model.n_iter_[0]} iterations"

    yield "", "scikit-learn", timed


@row
def umap(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"UMAP of {n} x 512", "kindred", lambda: bench.ours("umap", path, 15)

    def umap_learn():
        import numba
        import umap as peer
        numba.set_num_threads(bench.options.threads)
        places = peer.UMAP(n_jobs=bench.options.threads).fit_transform(x)
        return f"{np.ptp(places[:, 0]):.0f} wide"

    def warm():
        """Compile first: numba does it once a process."""
        import umap as peer
        peer.UMAP(n_epochs=2).fit_transform(x[:5000, :8])

    def timed():
        warm()
        return bench.peer(umap_learn)

    yield "", "umap-learn", timed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--build", default="build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    bench = Bench(options)
    for name in options.rows or ROWS:
        calls = [call for call in ROWS[name](bench) if call[1] == "kindred" or not options.no_peers]
        times, said = {c[1]: [] for c in calls}, {}
        for _ in range(options.runs):
            for _, who, call in calls:
                seconds, said[who] = call()
                times[who].append(seconds)
        print(calls[0][0])
        first = statistics.median(times[calls[0][1]])
        for _, who, _ in calls:
            t = times[who]
            print(f"  {who:14} {min(t):9.2f} {statistics.median(t):9.2f} {max(t):9.2f} s"
                  f"  {statistics.median(t) / first:6.2f}x  {said[who]}", flush=True)


if __name__ == "__main__":
    main()
