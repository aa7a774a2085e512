"""Real weights on 169 labelled photos: the leave-one-out 5-NN accuracy is within 0.01 of the 0.888 that ONNX Runtime
reaches with the original file after the same resize."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

cache = pathlib.Path(os.environ["KINDRED_CACHE"])


class Accuracy(unittest.TestCase):
    def test_labelled_photos(self):
        command = [os.environ["KINDRED_BIN"], "model", "compare", "--json", "--quiet", "--centre", cache / "vit-s-focus",
                   cache / "gcompris-photos/labelled"]
        out = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        self.assertEqual((out["labelled"], len(out["classes"])), (169, 5))
        print(f"{out['models'][0]['knn_right']} of 169")
        self.assertAlmostEqual(out["models"][0]["knn_accuracy"], 0.888, delta=0.01)


if __name__ == "__main__":
    if os.environ["KINDRED_SANITIZE"]:
        print("skipped: parity/model/test_focus runs this model under a sanitizer, on fewer photos")
        sys.exit(77)
    if not all((cache / name / ".material").exists() for name in ("vit-s-focus", "gcompris-photos")):
        print("skipped: fetch the materials with: tools/materials.py vit-s-focus gcompris-photos")
        sys.exit(77)
    unittest.main()
