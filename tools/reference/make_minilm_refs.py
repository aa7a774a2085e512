#!/usr/bin/env python3
"""Reference for the minilm material: tests/data/minilm/vectors.safetensors holds what sentence-transformers makes of the texts of
tests/data/texts.json with the real all-MiniLM-L6-v2, in float64. Needs numpy, safetensors, torch and sentence-transformers."""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import materials  # noqa: E402


def main():
    folder = materials.ensure("minilm", materials.default_cache())
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float64})
    texts = json.loads((ROOT / "tests/data/texts.json").read_text(encoding="utf-8"))
    vectors = model.encode(texts, batch_size=1, show_progress_bar=False)
    save_file({"vectors": np.asarray(vectors, np.float32)}, ROOT / "tests/data/minilm/vectors.safetensors")


if __name__ == "__main__":
    main()
