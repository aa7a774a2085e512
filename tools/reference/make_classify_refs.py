#!/usr/bin/env python3
"""References for classification: tests/data/refs/classify.json and classify_zero_shot.json.

    python3 make_classify_refs.py [MODELS]

The first holds small sets of labelled vectors and what scikit-learn makes of them: LogisticRegression's coefficients and
probabilities, KNeighborsClassifier's votes, StratifiedKFold's folds and the cross-validated predictions over them. The
second, made when MODELS (the folder of the seeded models) is given, holds the softmax of transformers' CLIPModel's
logits_per_image for the test photos and labels, and the same for labels by the multilingual text tower through
sentence-transformers. Needs numpy and scikit-learn, and for the second torch, transformers, sentence-transformers and
Pillow."""
import json
import pathlib
import sys

import numpy as np
from sklearn.datasets import load_digits, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFS = ROOT / "tests/data/refs"
K, FOLDS = 5, 4

LABELS = ["a dog", "a cat", "an empty road", "a mountain in the snow", "a plate of food", "people at a table"]
KOREAN = ["강아지", "고양이", "사람이 없는 도로", "눈이 많이 쌓인 산", "접시에 담긴 음식", "식탁에 앉은 사람들"]
TEMPLATES = ["a photo of {}", "{} in a picture"]


def rounded(array, digits=9):
    return np.round(np.asarray(array, np.float64), digits).tolist()


def case(x, labels, c):
    """`x` and `labels` in a shuffled order; every third vector is told by what was learnt from the others."""
    x = np.asarray(x, np.float32)
    values = x.astype(np.float64)
    seen = np.arange(len(x)) % 3 != 0
    logistic = LogisticRegression(C=c, tol=1e-10, max_iter=100000).fit(values[seen], labels[seen])
    knn = KNeighborsClassifier(n_neighbors=K, metric="cosine", algorithm="brute").fit(values[seen], labels[seen])
    folds = np.empty(len(x), int)
    for number, (_, test) in enumerate(StratifiedKFold(FOLDS).split(values, labels)):
        folds[test] = number
    out = {"c": c, "k": K, "n_folds": FOLDS, "vectors": [[float(v) for v in row] for row in x],
           "labels": labels.tolist(), "coefficients": rounded(logistic.coef_), "intercepts": rounded(logistic.intercept_),
           "linear": rounded(logistic.predict_proba(values[~seen])), "knn": rounded(knn.predict_proba(values[~seen])),
           "folds": folds.tolist()}
    for name, model in (("linear", logistic), ("knn", knn)):
        guesses = cross_val_predict(model, values, labels, cv=StratifiedKFold(FOLDS))
        out[name + "_guesses"] = guesses.tolist()
        out[name + "_accuracy"] = accuracy_score(labels, guesses)
        out[name + "_confusion"] = confusion_matrix(labels, guesses).tolist()
    return out


def vectors():
    digits, random = load_digits(), np.random.default_rng(3)
    some = random.permutation(len(digits.data))[:240]
    blobs, labels = make_blobs(n_samples=[40, 30, 20], n_features=6, cluster_std=2.5, center_box=(-3, 5), random_state=7)
    units = random.normal(size=(90, 8)) + 2 * np.eye(8)[np.arange(90) % 5] + 3
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    two, halves = make_blobs(n_samples=[25, 35], n_features=5, cluster_std=4, random_state=2)
    cases = {"digits": case(digits.data[some], digits.target[some], 0.01), "blobs": case(np.round(blobs, 3), labels, 1.0),
             "units": case(np.round(units, 5), np.arange(90) % 5, 10.0), "two": case(np.round(two, 3), halves, 0.3)}
    text = json.dumps(cases, separators=(",", ":")).replace(".0,", ",").replace(".0]", "]")
    (REFS / "classify.json").write_text(text + "\n")


def zero_shot(models):
    import sentence_transformers
    import torch
    import transformers
    from PIL import Image, ImageOps
    paths = sorted(p for p in (ROOT / "tests/data/photos").iterdir() if p.suffix in (".jpg", ".webp"))[::2]
    pictures = [ImageOps.exif_transpose(Image.open(p)).convert("RGB") for p in paths]
    folder = models / "clip-vit-b-32"
    model = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float64).eval()
    pixels = transformers.CLIPImageProcessorPil.from_pretrained(folder)(pictures, return_tensors="pt")["pixel_values"]
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)

    def tokens(texts):
        return tokenizer(texts, padding=True, return_tensors="pt")

    def unit(rows):
        return rows / rows.norm(dim=-1, keepdim=True)

    def text_vectors(texts):
        return unit(model.get_text_features(**tokens(texts)).pooler_output)

    out = {"photos": [p.name for p in paths], "labels": LABELS, "korean": KOREAN, "templates": TEMPLATES,
           "scale": model.logit_scale.exp().item()}
    with torch.no_grad():
        plain = model(pixel_values=pixels.double(), **tokens([f"a photo of {label}" for label in LABELS]))
        out["plain"] = rounded(plain.logits_per_image.softmax(dim=1))
        images = plain.image_embeds
        texts = [[t.replace("{}", label) for t in TEMPLATES] for label in LABELS]
        averaged = [text_vectors(t).mean(dim=0) for t in texts]
        classes = unit(torch.stack(averaged))
        out["ensemble"] = rounded((out["scale"] * images @ classes.T).softmax(dim=1))
        text_model = sentence_transformers.SentenceTransformer(str(models / "multilingual-clip"), device="cpu").double()
        korean = unit(text_model.encode(KOREAN, convert_to_tensor=True).double())
        out["multilingual"] = rounded((out["scale"] * images @ korean.T).softmax(dim=1))
        pairs = [(out["scale"] * images @ text_vectors([f"with {label}", f"without {label}"]).T).softmax(dim=1)[:, 0]
                 for label in LABELS]
        out["pairs"] = rounded(torch.stack(pairs, dim=1))
    (REFS / "classify_zero_shot.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    vectors()
    if len(sys.argv) > 1:
        zero_shot(pathlib.Path(sys.argv[1]))
