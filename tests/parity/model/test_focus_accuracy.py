"""Real weights on 169 labelled photos: the leave-one-out 5-NN accuracy is within 0.01 of the 0.888 that ONNX Runtime
reaches with the original file after the same resize."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

cache = pathlib.Path(os.environ["KINDRED_CACHE"])
sys.path.insert(0, str(pathlib.Path(os.environ["KINDRED_SOURCE"]) / "tools"))
sys.dont_write_bytecode = True
import knn_accuracy  # noqa: E402


class Accuracy(unittest.TestCase):
    def test_labelled_photos(self):
        photos = sorted((cache / "gcompris-photos/labelled").glob("*/*.webp"))
        self.assertEqual(len(photos), 169)
        with tempfile.TemporaryDirectory() as folder:
            vectors = pathlib.Path(folder) / "v.npy"
            subprocess.run([os.environ["KINDRED_BIN"], "embed", "--quiet", "--model", cache / "vit-s-focus",
                            "--no-normalize", "-o", vectors, *photos], check=True)
            rows = knn_accuracy.read_npy(vectors)
        right, count = knn_accuracy.accuracy(rows, [photo.parent.name for photo in photos])
        print(f"{right} of {count}")
        self.assertAlmostEqual(right / count, 0.888, delta=0.01)


if __name__ == "__main__":
    if not all((cache / name / ".material").exists() for name in ("vit-s-focus", "gcompris-photos")):
        print("skipped: fetch the materials with: tools/materials.py vit-s-focus gcompris-photos")
        sys.exit(77)
    unittest.main()
