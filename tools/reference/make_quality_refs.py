#!/usr/bin/env python3
"""Reference for src/analyse: tests/data/refs/quality.json holds vectors, labels, and what scikit-learn says of them:
the nearest neighbours by cosine, the leave-one-out k-NN answers, recall at 1 and k, the silhouette; as they are and
with their mean subtracted. Needs numpy and scikit-learn."""
import json
import pathlib

import numpy as np
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import silhouette_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/data/refs/quality.json"
K = 5


def measure(x, labels):
    distances, indices = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(x).kneighbors()
    vote = KNeighborsClassifier(n_neighbors=K, metric="cosine", algorithm="brute")
    guesses = cross_val_predict(vote, x, labels, cv=LeaveOneOut())
    same = labels[indices] == labels[:, None]
    return {"neighbours": indices.tolist(), "cosines": np.round(1 - distances, 9).tolist(),
            "right": int((guesses == labels).sum()), "found_at_1": int(same[:, 0].sum()),
            "found_at_k": int(same.any(axis=1).sum()), "silhouette": float(silhouette_score(x, labels, metric="cosine"))}


def case(x, labels):
    x = np.asarray(x, np.float32)
    values = x.astype(np.float64)
    return {"k": K, "vectors": [[float(v) for v in row] for row in x], "labels": labels.tolist(),
            "plain": measure(values, labels), "centred": measure(values - values.mean(axis=0), labels)}


def main():
    digits = load_digits()
    blobs, labels = make_blobs(n_samples=[20, 15, 12, 8, 1], n_features=6, cluster_std=2.5, center_box=(-3, 5),
                               random_state=7)
    cases = {"digits": case(digits.data[:150], digits.target[:150]), "blobs": case(np.round(blobs, 3), labels)}
    OUT.write_text(json.dumps(cases, separators=(",", ":")).replace(".0,", ",").replace(".0]", "]") + "\n")


if __name__ == "__main__":
    main()
