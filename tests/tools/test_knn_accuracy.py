"""tools/knn_accuracy.py on vectors whose answer is known."""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(os.environ["KINDRED_SOURCE"]) / "tools/knn_accuracy.py"


def npy(rows, descr="<f4"):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    values = [value for row in rows for value in row]
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(
        f"<{len(values)}f", *values)


class KnnAccuracy(unittest.TestCase):
    def run_tool(self, data, photos):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "v.npy"
            path.write_bytes(data)
            return subprocess.run([sys.executable, TOOL, path, *photos], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, check=False)

    def test_two_clusters_and_a_stray(self):
        # Far from the origin, so that only centred vectors tell the clusters apart.
        rows = [[100 + x, 100 + 0.01 * i] for x in (-1, 1) for i in range(6)] + [[101, 100.02]]
        photos = ["in/cats/1"] * 6 + ["in/dogs/1"] * 6 + ["in/cats/stray"]
        result = self.run_tool(npy(rows), photos)
        self.assertEqual(result.stdout, "0.923 (12 of 13 photos, 2 classes)\n")

    def test_ties_go_to_the_first_class_by_name(self):
        # Three photos: each has one neighbour of each other class.
        result = self.run_tool(npy([[1, 0], [0, 1], [-1, -1]]), ["c/1", "a/1", "b/1"])
        self.assertEqual(result.stdout, "0.000 (0 of 3 photos, 3 classes)\n")
        result = self.run_tool(npy([[1, 0], [0, 1], [-1, -1]]), ["a/1", "a/1", "b/1"])
        self.assertEqual(result.stdout, "0.667 (2 of 3 photos, 2 classes)\n")

    def test_bad_input(self):
        for data, photos, message in ((npy([[1, 2]], "<f8"), ["a/1"], "not rows of float32"),
                                      (npy([[1, 2]])[:-1], ["a/1"], ""), (b"x", ["a/1"], "not a .npy file"),
                                      (npy([[1, 2]]), ["a/1", "a/2"], "1 vectors, but 2 photos")):
            result = self.run_tool(data, photos)
            self.assertEqual(result.returncode, 1)
            self.assertIn("knn_accuracy.py: ", result.stderr)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
