#!/usr/bin/env python3
"""Reference for drift: tests/data/refs/drift.json holds samples with SciPy's two-sample Kolmogorov-Smirnov statistics and
p-values; vectors in two groups with their maximum mean discrepancy, by its definition in NumPy, the least p along
scikit-learn's principal components, and the division of least cost; and scores of each vector against the window before
it, by scikit-learn's neighbours. Needs numpy, scipy and scikit-learn."""
import json
import pathlib
import warnings

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.stats import ks_2samp
from sklearn.decomposition import PCA
from sklearn.gaussian_process.kernels import RBF
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/refs/drift.json"
WINDOW, K, COMPONENTS = 20, 3, 4


def samples(random):
    sizes = [(1, 1), (2, 5), (7, 7), (30, 30), (40, 60), (33, 64), (200, 200), (150, 90), (17, 300)]
    for n, m in sizes:
        for shift in (0, 0.5, 2):
            yield random.normal(size=n), random.normal(shift, size=m)
    yield random.integers(0, 5, 40), random.integers(0, 6, 25)  # with equal values
    yield [1, 2, 3], [1, 2, 3]
    yield [1, 1, 1, 1], [2, 2]


def ks(random):
    out = []
    for a, b in samples(random):
        a, b = np.round(a, 4), np.round(b, 4)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = ks_2samp(a, b)
        # SciPy gives up its exact way where rounding puts it above 1.
        p = 1.0 if told and found.pvalue > 0.999 else float(found.pvalue)
        out.append({"a": a.tolist(), "b": b.tolist(), "statistic": float(found.statistic), "p": p})
    return out


def discrepancy(kernel, n):
    xx, yy, xy = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]
    m = len(kernel) - n
    return ((xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean())


def cost(kernel, s):
    return sum(np.trace(part) - part.sum() / len(part) for part in (kernel[:s, :s], kernel[s:, s:]))


def drift(x, n, change_from):
    bandwidth = np.median(pdist(x))
    kernel = RBF(bandwidth)(x)
    places = PCA(COMPONENTS, svd_solver="full").fit_transform(x)
    tests = [ks_2samp(along[:n], along[n:]) for along in places.T]
    best = int(np.argmin([found.pvalue for found in tests]))
    splits = range(change_from, len(x) - change_from + 1)
    return {"n": n, "bandwidth": float(bandwidth), "mmd": float(discrepancy(kernel, n)), "component": best,
            "ks": float(tests[best].statistic), "p_ks": float(min(1, COMPONENTS * tests[best].pvalue)),
            "change": min(splits, key=lambda s: cost(kernel, s))}


def window_scores(x, metric):
    knn, mean = [], []
    for i in range(len(x)):
        window = x[max(0, i - WINDOW):i]
        near = len(window) >= K and NearestNeighbors(n_neighbors=K, metric=metric, algorithm="brute").fit(window)
        knn.append(float(near.kneighbors(x[i:i + 1])[0][0, -1]) if near else None)
        unit = normalize(window) if metric == "cosine" and len(window) else window
        mean.append(float(cdist(x[i:i + 1], unit.mean(axis=0)[None], metric)[0, 0]) if len(window) else None)
    return {"knn": knn, "mean": mean}


def main():
    random = np.random.default_rng(11)
    x = random.normal(size=(130, 6)) + 1
    x[80:] = x[80:] * 1.4 + [0.6, 0, 0, -0.5, 0, 0]  # from here on
    x = np.round(x, 3).astype(np.float32).astype(np.float64)
    refs = {"ks": ks(random), "vectors": [[round(v, 3) for v in row] for row in x.tolist()], "components": COMPONENTS,
            "window": WINDOW, "k": K,
            "euclidean": {"drift": [drift(x, n, 130 // 20) for n in (65, 80, 100)], **window_scores(x, "euclidean")},
            "cosine": {"drift": [drift(normalize(x), n, 130 // 20) for n in (65, 80, 100)], **window_scores(x, "cosine")}}
    OUT.write_text(json.dumps(refs, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
