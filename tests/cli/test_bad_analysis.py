"""What every analysis is asked about bad input: one item, equal items, k above n, values that aren't finite, and files of
labels that are empty, too short, in UTF-16 or no text."""
import json

from support import CommandTest, main
from test_cluster import npy, three_groups

LABELS = "가\n나\n" * 3
# Each with its name for known classes, and what it takes beside the vectors.
COMMANDS = {"cluster": ("--labels-from", ["-k", 2]), "sample": ("--labels-from", ["-n", 2]),
            "map": ("--labels-from", ["--neighbours", 3]), "classify": ("--train-labels", ["--linear", "--folds", 2])}


class BadAnalysis(CommandTest):
    def analyse(self, command, path, labels=None, more=None, **options):
        known, default = COMMANDS[command]
        labelled = [known, labels] if labels else []
        vectors = ["--train", path] if command == "classify" else [path]
        return self.run_kindred(command, *vectors, *labelled, *(default if more is None else more), **options)

    def test_labels_in_utf16(self):
        """The same as in UTF-8; without a byte order mark it can't be told, and the error says so."""
        self.put("x.npy", npy(three_groups(2)))
        self.put("utf8", LABELS)
        self.put("little", b"\xff\xfe" + LABELS.encode("utf-16-le"))
        self.put("big", b"\xfe\xff" + LABELS.replace("\n", "\r\n").encode("utf-16-be"))
        self.put("unmarked", "ab\ncd\n".encode("utf-16-le") * 3)
        for command in COMMANDS:
            outs = [json.loads(self.analyse(command, "x.npy", name, [*COMMANDS[command][1], "--json"]).out)
                    for name in ("utf8", "little", "big")]
            for out in outs:
                for time in ("seconds", "fit_seconds"):
                    out.pop(time, None)
            self.assertEqual(outs[1], outs[0], command)
            self.assertEqual(outs[2], outs[0], command)
            self.assertIn("unmarked:1: holds a NUL byte, so it is no text (UTF-16 needs a byte order mark)",
                          self.analyse(command, "x.npy", "unmarked", status=1).err)

    def test_bad_labels(self):
        self.put("x.npy", npy(three_groups(2)))
        for data, message in ((b"", "0 lines, and there are 6 items"), (b"a\nb\n", "2 lines"), (b"\n" * 6, "no item a class"),
                              ("é\nb\n".encode("latin-1") * 3, "isn't UTF-8 (nor UTF-16"), (b"a\0\nb\n" * 3, "NUL byte")):
            self.put("labels", data)
            for command in COMMANDS:
                err = self.analyse(command, "x.npy", "labels", status=1).err
                self.assertIn(message, err, command)
                self.assertIn("labels", err)
        for command in COMMANDS:
            self.assertIn("gone", self.analyse(command, "x.npy", "gone", status=1).err)

    def test_values_that_are_not_finite(self):
        self.put("labels", "a\nb\n")
        for value in ("nan", "inf", "-inf"):
            self.put("x.npy", npy([[1, 2], [float(value), 1]]))
            for command in COMMANDS:
                self.assertIn("the vector of row 1 holds a value that isn't finite",
                              self.analyse(command, "x.npy", "labels", status=1).err)

    def test_damaged_headers(self):
        shape = "{'shape': (1, 1), "
        for text, message in (("{'descr': '<f", "no little-endian floats"), (shape + "'descr': '<f", "no little-endian floats"),
                              (shape + "'descr': '<f4", "before its last vector"), ("{'descr': '<f4', 'shape': (1", "shape"),
                              ("{'descr': '<f8', 'shape': (4294967296, 4294967296)", "before its last vector")):
            header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
            self.put("x.npy", header)
            self.assertIn(message, self.analyse("cluster", "x.npy", status=1).err, text)
            self.put("x.npy", header[:-1])
            self.assertIn("its header is cut off", self.analyse("cluster", "x.npy", status=1).err, text)

    def test_one_item(self):
        self.put("x.npy", npy([[1, 2, 3]]))
        self.put("labels", "a\n")
        for command, more in (("cluster", []), ("cluster", ["--method", "hdbscan"]), ("sample", []), ("sample", ["-u"]),
                              ("map", []), ("map", ["--method", "pca"])):
            self.assertIn("1 item", self.analyse(command, "x.npy", more=more).out)
        self.assertIn("at least two classes", self.analyse("classify", "x.npy", "labels", status=1).err)
        self.assertIn("2 clusters of 1 vectors: must be 1 to 1", self.analyse("cluster", "x.npy", status=1).err)
        self.assertIn("3 neighbours of 1 vectors", self.analyse("map", "x.npy", status=1).err)
        self.assertIn("needs at least 3",
                      self.analyse("map", "x.npy", more=["--trustworthiness", 1], status=1).err)

    def test_all_equal(self):
        self.put("x.npy", npy([[1, 2, 3]] * 6))
        self.put("labels", LABELS)
        for more in ([], ["-k", 3], ["--method", "hdbscan"], ["--method", "minibatch", "-k", 2]):
            self.assertIn("1 cluster of 6 items", self.analyse("cluster", "x.npy", more=more).out)
        self.assertIn("within 0.000", self.analyse("sample", "x.npy").out)
        self.assertIn("6 items by UMAP", self.analyse("map", "x.npy").out)
        out = self.analyse("map", "x.npy", more=["--method", "pca"]).out
        self.assertIn("0.0% and 0.0% of the variance", out)
        for more in (["--linear", "--folds", 2], ["--knn", 2, "--folds", 2]):
            self.assertIn("6 examples in 2 classes", self.analyse("classify", "x.npy", "labels", more=more).out)

    def test_the_others(self):
        """Those without known classes: duplicates, anomalies, what is recent, uniqueness."""
        names = "".join(f"가{i}\n" for i in range(6))
        self.put("names", b"\xff\xfe" + names.encode("utf-16-le"))
        for name, rows in (("one", [[1, 2, 3]]), ("same", [[1, 2, 3]] * 6), ("zero", [[0, 0, 0]] * 6),
                           ("nan", [[1, 2, 3], [float("nan"), 1, 2]]), ("x", three_groups(2))):
            self.put(f"{name}.npy", npy(rows))
        for command in (["duplicates"], ["anomalies"], ["anomalies", "recent"], ["sample", "--uniqueness"]):
            for name, status in (("one", 1 if command == ["anomalies"] else 0), ("same", 0), ("zero", 0), ("nan", 1)):
                err = self.run_kindred(*command, f"{name}.npy", "-q", status=status).err
                if name == "nan":
                    self.assertIn("row 1 holds a value that isn't finite", err)
                elif status:
                    self.assertIn("at least two vectors", err)
            self.run_kindred(*command, "x.npy", "--names", "names", "-q")
        for command in (["duplicates", "--neighbours", 50], ["sample", "--uniqueness", "--neighbours", 50],
                        ["sample", "-n", 50]):
            self.run_kindred(*command, "x.npy", "-q")
        self.assertIn("must be 1 to 5", self.run_kindred("anomalies", "x.npy", "-k", 50, status=1).err)


if __name__ == "__main__":
    main()
