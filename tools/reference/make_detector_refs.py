#!/usr/bin/env python3
"""Reference for detectors of anomalies: tests/data/refs/detector.json holds vectors (digits with a little noise, so that
no two distances are equal) and what scikit-learn, SciPy and NumPy say of them: shrinkage and Mahalanobis distances of
LedoitWolf, local outlier factors and distances to the k-th neighbour of the first vectors among themselves and of the
others, distances to the mean, quantiles and the median absolute deviation. Needs numpy, scipy and scikit-learn."""
import json
import pathlib

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import median_abs_deviation
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import normalize

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/refs/detector.json"
FITTED, NEW, K = 110, 40, 10


def mahalanobis(x, n):
    fitted = LedoitWolf().fit(x[:n])
    return {"n": n, "shrinkage": fitted.shrinkage_, "scores": np.sqrt(fitted.mahalanobis(x)).tolist()}


def by_metric(x, metric):
    reference, new = x[:FITTED], x[FITTED:]
    factors = LocalOutlierFactor(n_neighbors=K, metric=metric, algorithm="brute", novelty=True).fit(reference)
    near = NearestNeighbors(n_neighbors=K, metric=metric, algorithm="brute").fit(reference)
    mean = (normalize(reference) if metric == "cosine" else reference).mean(axis=0)
    return {"lof": [*-factors.negative_outlier_factor_, *-factors.score_samples(new)],
            "knn": [*near.kneighbors()[0][:, -1], *near.kneighbors(new)[0][:, -1]],
            "mean": cdist(x, mean[None], metric)[:, 0].tolist()}


def main():
    x = load_digits().data[:FITTED + NEW] + np.random.default_rng(3).normal(scale=0.5, size=(FITTED + NEW, 64))
    x = np.round(x, 3).astype(np.float32).astype(np.float64)
    refs = {metric: by_metric(x, metric) for metric in ("cosine", "euclidean")}
    own = refs["cosine"]["lof"][:FITTED]
    refs |= {"vectors": [[round(v, 3) for v in row] for row in x.tolist()], "fitted": FITTED, "k": K,
             "mahalanobis": [mahalanobis(x, FITTED), mahalanobis(x, 30)],  # more vectors than floats, and fewer
             "quantile": float(np.quantile(own, 0.93)),
             "mad": float(np.median(own) + 3 * median_abs_deviation(own))}
    OUT.write_text(json.dumps(refs, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
