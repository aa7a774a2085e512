#!/usr/bin/env python3
"""Analyses beside scikit-learn's on the same vectors and threads: seconds, minimum / median / maximum, how many times
ours, and what each found.

  python3 bench/analyse.py                                        # every row
  python3 bench/analyse.py kmeans lof hdbscan umap logistic       # those that have a speed to reach
  python3 bench/analyse.py --scale 0.1 --patience 0.1 hdbscan     # on a tenth of the vectors; impatient

A row is a function with @row: it yields the calls to compare, ours first, and they take turns. Ours are timed through
bench-analyse, a program on the library; peers are optional, and each call has a process of its own. A peer that takes
more than --patience times our median (and LEAST_SECONDS) is stopped and not tried again; its line then tells what it
was given, "> 10.0x". Needs numpy; scikit-learn, umap-learn (and threadpoolctl) for the peers."""
import argparse
import multiprocessing
import os
import pathlib
import signal
import statistics
import subprocess
import tempfile
import time
import traceback

import numpy as np

ROWS = {}
LEAST_SECONDS = 5  # what every peer is given


def row(function):
    ROWS[function.__name__] = function
    return function


class Stopped(Exception):
    """A peer took longer than it was given."""


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, pathlib.Path(folder)
        self.given = float("inf")  # seconds that a peer may take

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

    def peer(self, prepare):
        """Time what `prepare` returns, in a process of its own on as many threads: `prepare` imports and compiles, and
        returns the call to time and what tells of its result. Returns seconds and what was told, or raises Stopped."""
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            os.setsid()
            try:
                self.time_peer(prepare, theirs)
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(0)
        theirs.close()
        try:
            ours.recv()
            if not ours.poll(self.given):
                raise Stopped
            return ours.recv(), ours.recv()
        except EOFError:
            raise SystemExit("a peer failed") from None
        finally:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def time_peer(self, prepare, pipe):
        """Send that the call begins, then its seconds, then what it found."""
        from threadpoolctl import threadpool_limits
        call, tell = prepare()
        with threadpool_limits(self.options.threads):
            pipe.send("begins")
            start = time.perf_counter()
            result = call()
            pipe.send(time.perf_counter() - start)
        pipe.send(tell(result))


@row
def neighbours(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"15 neighbours of {n} x 512", "kindred", lambda: bench.ours("neighbours", path, 15)

    def sklearn():
        from sklearn.neighbors import NearestNeighbors
        model = NearestNeighbors(n_neighbors=15, algorithm="brute").fit(x)
        return model.kneighbors, lambda found: f"mean distance {found[0].mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def kmeans(bench):
    n = bench.count(200000)
    path, x = bench.vectors(n, groups=400, spread=2.0)
    yield f"k-means of {n} x 512 into 100", "kindred", lambda: bench.ours("kmeans", path, 100)

    def sklearn():
        from sklearn.cluster import KMeans
        model = KMeans(100, n_init=1, random_state=0)
        return lambda: model.fit(x), lambda m: f"inertia {m.inertia_:.6g}, {m.n_iter_} iterations"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def minibatch(bench):
    n = bench.count(200000)
    path, x = bench.vectors(n, groups=400, spread=2.0)
    yield f"mini-batch k-means of {n} x 512 into 100", "kindred", lambda: bench.ours("minibatch", path, 100)

    def sklearn():
        from sklearn.cluster import MiniBatchKMeans
        model = MiniBatchKMeans(100, n_init=1, random_state=0)
        return lambda: model.fit(x), lambda m: f"inertia {m.inertia_:.6g}, {m.n_steps_} steps"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def hdbscan(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n, groups=60, spread=0.7)
    yield f"HDBSCAN of {n} x 512", "kindred", lambda: bench.ours("hdbscan", path, 10)

    def sklearn():
        from sklearn.cluster import HDBSCAN
        model = HDBSCAN(min_cluster_size=10, n_jobs=bench.options.threads, copy=True)
        return lambda: model.fit_predict(x), lambda l: f"{l.max() + 1} clusters, {(l < 0).sum()} noise"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def lof(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"local outlier factors of {n} x 512, 20 neighbours", "kindred", lambda: bench.ours("lof", path, 20)

    def sklearn():
        from sklearn.neighbors import LocalOutlierFactor
        model = LocalOutlierFactor(n_neighbors=20, n_jobs=bench.options.threads)
        return lambda: model.fit(x), lambda m: f"mean score {-m.negative_outlier_factor_.mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def mahalanobis(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"Mahalanobis distances of {n} x 512, Ledoit-Wolf", "kindred", lambda: bench.ours("mahalanobis", path, 0)

    def sklearn():
        from sklearn.covariance import LedoitWolf
        values = x.astype(np.float64)
        return lambda: LedoitWolf().fit(values).mahalanobis(values), lambda d: f"mean score {np.sqrt(d).mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def sample(bench):
    n, picks = bench.count(50000), 500
    path, x = bench.vectors(n)
    yield f"{picks} representative picks of {n} x 512", "kindred", lambda: bench.ours("sample", path, picks)

    def farthest_first():
        squares = np.einsum("ij,ij->i", x, x)
        to = lambda point: squares - 2 * (x @ point) + point @ point
        pick, nearest = to(x.mean(0)).argmin(), np.full(n, np.inf, np.float32)
        for _ in range(picks):
            np.minimum(nearest, to(x[pick]), out=nearest)
            pick = nearest.argmax()
        return np.sqrt(nearest.max())

    yield "", "numpy", lambda: bench.peer(lambda: (farthest_first, lambda left: f"furthest {left:.4f}"))


@row
def uniqueness(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"uniqueness by 3 neighbours of {n} x 512", "kindred", lambda: bench.ours("uniqueness", path, 3)

    def sklearn():
        from sklearn.neighbors import NearestNeighbors
        model = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(x)
        return model.kneighbors, lambda found: f"mean score {found[0].mean():.6f}"

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def logistic(bench):
    """c 1; both minimise the objective that they show: less is nearer to the minimum."""
    n, classes = bench.count(20000), 20
    path, x = bench.vectors(n, groups=classes, spread=4.0, unit=True)
    yield f"logistic regression of {n} x 512 in {classes} classes", "kindred", lambda: bench.ours("logistic", path, classes)

    def sklearn():
        from sklearn.linear_model import LogisticRegression
        labels = np.arange(n) % classes

        def tell(model):
            p = model.predict_proba(x.astype(np.float64))[np.arange(n), labels]
            objective = (model.coef_.astype(np.float64) ** 2).sum() / 2 - np.log(p).sum()
            return f"objective {objective:.3f}, {model.n_iter_[0]} iterations"

        return lambda: LogisticRegression(max_iter=5000).fit(x, labels), tell

    yield "", "scikit-learn", lambda: bench.peer(sklearn)


@row
def umap(bench):
    n = bench.count(50000)
    path, x = bench.vectors(n)
    yield f"UMAP of {n} x 512", "kindred", lambda: bench.ours("umap", path, 15)

    def umap_learn():
        import numba
        import umap as peer
        numba.set_num_threads(bench.options.threads)
        peer.UMAP(n_epochs=2).fit_transform(x[:5000, :8])  # compiles, which numba does once a process
        model = peer.UMAP(n_jobs=bench.options.threads)
        return lambda: model.fit_transform(x), lambda places: f"{np.ptp(places[:, 0]):.0f} wide"

    yield "", "umap-learn", lambda: bench.peer(umap_learn)


def run_row(bench, options, calls):
    """Run the calls by turns and print a line for each."""
    times, said, stopped = {who: [] for _, who, _ in calls}, {}, {}
    first = times[calls[0][1]]
    for _ in range(options.runs):
        for _, who, call in calls:
            if who in stopped:
                continue
            if first:
                bench.given = max(LEAST_SECONDS, options.patience * statistics.median(first))
            try:
                seconds, said[who] = call()
                times[who].append(seconds)
            except Stopped:
                stopped[who] = bench.given
    print(calls[0][0])
    for _, who, _ in calls:
        ours = statistics.median(first)
        if who in stopped:
            print(f"  {who:14} {'':29} s > {stopped[who] / ours:5.1f}x  stopped after {stopped[who]:.2f} s", flush=True)
        else:
            t = times[who]
            print(f"  {who:14} {min(t):9.2f} {statistics.median(t):9.2f} {max(t):9.2f} s"
                  f"  {statistics.median(t) / ours:6.2f}x  {said[who]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--build", default="build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--patience", type=float, default=10, help="how many times our seconds a peer may take (10)")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kindred-bench-") as folder:
        bench = Bench(options, folder)
        for name in options.rows or ROWS:
            run_row(bench, options, [c for c in ROWS[name](bench) if c[1] == "kindred" or not options.no_peers])


if __name__ == "__main__":
    main()
