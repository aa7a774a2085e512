#!/usr/bin/env python3
"""Reference for maps: tests/data/refs/map.json holds vectors and what umap-learn and scikit-learn make of them: the
weights of UMAP's fuzzy set from exact neighbours (equally near ones by number), the curve of a least distance, principal
components (their largest float positive), trustworthiness of a map, and that which umap-learn's maps reach, the median of
five seeds. Needs numpy, scikit-learn and umap-learn."""
import json
import pathlib

import numpy as np
import umap
import umap.umap_ as parts
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/refs/map.json"
NEIGHBOURS = 15
METRICS = ("cosine", "euclidean")


def fuzzy_set(x):
    """[i, j, weight in units of 1e-6] of each pair, i < j."""
    squares = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squares, -1)  # a vector is its own first neighbour, before its copies
    indices = np.argsort(squares, axis=1, kind="stable")[:, :NEIGHBOURS]
    distances = np.sqrt(np.maximum(0, np.take_along_axis(squares, indices, axis=1))).astype(np.float32)
    graph = parts.fuzzy_simplicial_set(x, NEIGHBOURS, np.random.RandomState(0), "euclidean", knn_indices=indices,
                                       knn_dists=distances)[0].tocoo()
    pairs = [(int(i), int(j), round(float(w) * 1e6)) for i, j, w in zip(graph.row, graph.col, graph.data) if i < j]
    return [list(pair) for pair in sorted(pairs)]


def principal(x, k):
    pca = PCA(k, svd_solver="full").fit(x)
    largest = np.abs(pca.components_).argmax(axis=1)
    components = pca.components_ * np.sign(pca.components_[range(k), largest])[:, None]
    return {"n": len(x), "components": np.round(components, 6).tolist(), "variances": pca.explained_variance_.tolist(),
            "total": float(x.var(axis=0, ddof=1).sum())}


def trust_of(x, points):
    return {metric: float(trustworthiness(x, points, n_neighbors=NEIGHBOURS, metric=metric)) for metric in METRICS}


def main():
    x = load_digits().data[:300].astype(np.float64)
    x[5] = x[4]
    maps = {metric: [umap.UMAP(n_neighbors=NEIGHBOURS, metric=metric, random_state=seed).fit_transform(x) for seed in range(5)]
            for metric in METRICS}
    shown = np.round(maps["euclidean"][0].astype(np.float64), 3)
    refs = {
        "vectors": x.astype(int).tolist(), "neighbours": NEIGHBOURS, "fuzzy_set": fuzzy_set(x),
        "curves": [[d, *map(float, parts.find_ab_params(1.0, d))] for d in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)],
        "pca": [principal(x, 3), principal(x[:40], 3)],  # more vectors than floats, and fewer
        "map": shown.tolist(), "trust": trust_of(x, shown),
        "reached": {metric: float(np.median([trustworthiness(x, y, n_neighbors=NEIGHBOURS, metric=metric) for y in maps[metric]]))
                    for metric in METRICS}}
    OUT.write_text(json.dumps(refs, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
