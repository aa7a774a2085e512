#!/usr/bin/env python3
"""Reference for clustering: tests/data/refs/clusters.json holds vectors and what scikit-learn makes of them: k-means'
inertia (best of 10), silhouettes and Davies-Bouldin, agglomerative labels, HDBSCAN's labels and probabilities, NMI and
ARI. Needs numpy and scikit-learn."""
import json
import pathlib

import numpy as np
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.metrics import (adjusted_rand_score, davies_bouldin_score, normalized_mutual_info_score, silhouette_score)

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/refs/clusters.json"


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def best_inertia(x, k):
    return float(KMeans(k, n_init=10, random_state=0, tol=1e-6, algorithm="lloyd").fit(x).inertia_)


def best_spherical_inertia(x, k):
    """Of k-means' divisions of unit vectors, the least summed squared distance to centres of length 1."""
    def inertia(seed):
        labels = KMeans(k, n_init=1, random_state=seed, tol=1e-6).fit_predict(x)
        return sum(np.sum((x[labels == c] - unit(x[labels == c].mean(axis=0)[None])) ** 2) for c in range(k))
    return float(min(inertia(seed) for seed in range(10)))


def agglomerate(x, k):
    out = {}
    for linkage in ("average", "complete", "single", "ward"):
        out[linkage] = AgglomerativeClustering(k, linkage=linkage).fit_predict(x).tolist()
        if linkage != "ward":
            cosine = AgglomerativeClustering(k, linkage=linkage, metric="cosine").fit_predict(x)
            out[linkage + "-cosine"] = cosine.tolist()
    out["ward-cosine"] = AgglomerativeClustering(k, linkage="ward").fit_predict(unit(x)).tolist()
    return out


def hdbscan(x, metric, least, samples):
    """Of choices whose result doesn't change with the order of the rows: equal distances abound in mutual reachability."""
    model = HDBSCAN(min_cluster_size=least, min_samples=samples, metric=metric, copy=True).fit(x)
    return {"metric": metric, "min_cluster_size": least, "min_samples": samples, "labels": model.labels_.tolist(),
            "probabilities": np.round(model.probabilities_, 6).tolist()}


def case(x, labels, k, runs):
    x = np.asarray(x, np.float32)
    values = x.astype(np.float64)
    guess = KMeans(k, n_init=1, random_state=3, max_iter=4).fit_predict(values)
    return {
        "vectors": [[float(v) for v in row] for row in x], "k": k, "labels": np.asarray(labels).tolist(),
        "guess": guess.tolist(), "inertia": best_inertia(values, k), "spherical_inertia": best_spherical_inertia(unit(values), k),
        "silhouette": float(silhouette_score(values, guess)),
        "silhouette_cosine": float(silhouette_score(values, guess, metric="cosine")),
        "davies_bouldin": float(davies_bouldin_score(values, guess)),
        "nmi": float(normalized_mutual_info_score(labels, guess)), "ari": float(adjusted_rand_score(labels, guess)),
        "hdbscan": [hdbscan(values, *run) for run in runs]}


def main():
    digits = load_digits()
    blobs, of_blobs = make_blobs([60, 50, 40, 30, 20], n_features=5, cluster_std=1.2, center_box=(2, 14), random_state=4)
    blobs = np.round(blobs, 3)
    moons, of_moons = make_moons(180, noise=0.06, random_state=1)
    moons = np.round(np.vstack([moons, np.random.default_rng(2).uniform(-2, 3, (20, 2))]), 4)
    cases = {
        # No HDBSCAN of whole numbers: they have equal distances, which scikit-learn itself joins in an order that
        # depends on that of the rows (ARI 0.975 to 1 with itself).
        "digits": case(digits.data[:300], digits.target[:300], 10, []),
        "blobs": case(blobs, of_blobs, 5, [("euclidean", 5, 5), ("euclidean", 8, 1), ("cosine", 10, 6)]),
        "moons": case(moons, np.append(of_moons, [2] * 20), 3, [("euclidean", 10, 5), ("euclidean", 8, 4)])}
    cases["blobs"]["agglomerative"] = agglomerate(np.asarray(blobs, np.float32).astype(np.float64), 5)
    cases["moons"]["agglomerative"] = {
        linkage: AgglomerativeClustering(6, linkage=linkage).fit_predict(np.asarray(moons, np.float32)).tolist()
        for linkage in ("average", "complete", "single", "ward")}
    OUT.write_text(json.dumps(cases, separators=(",", ":")).replace(".0,", ",").replace(".0]", "]") + "\n")


if __name__ == "__main__":
    main()
