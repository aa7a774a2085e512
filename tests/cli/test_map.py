"""kindred map: places, colours, CSV, pictures; the same bytes from a seed; few items, bad input."""
import csv
import io
import json
import math
import os
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib

from support import CommandTest, main
from test_cluster import npy, three_groups

SVG = "{http://www.w3.org/2000/svg}"


def read_png(data):
    """Rows of 8-bit RGB, by the format's definition."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, body = 8, b""
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        part = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + part) == struct.unpack_from(">I", data, at + 8 + size)[0]
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", part)
            assert rest == [8, 2, 0, 0, 0]
        if kind == b"IDAT":
            body += part
        at += size + 12
    body, rows, above = zlib.decompress(body), [], bytes(3 * width)
    for y in range(height):
        kind, line = body[y * (3 * width + 1)], bytearray(body[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)])
        for x in range(3 * width):
            left, up, corner = line[x - 3] if x > 2 else 0, above[x], above[x - 3] if x > 2 else 0
            p = left + up - corner
            paeth = min((left, up, corner), key=lambda v: abs(p - v))
            line[x] = line[x] + (0, left, up, (left + up) // 2, paeth)[kind] & 255
        rows.append(bytes(line))
        above = line
    return rows


def spread_over(points, of):
    """How far apart the points are of one class at most, and of two at least."""
    within = max(math.dist(p, q) for i, p in enumerate(points) for j, q in enumerate(points) if of(i) == of(j))
    between = min(math.dist(p, q) for i, p in enumerate(points) for j, q in enumerate(points) if of(i) != of(j))
    return within, between


class Map(CommandTest):
    def map(self, *args, **options):
        return self.run_kindred("map", *args, **options)

    def describe(self, *args, **options):
        return json.loads(self.map(*args, "--json", **options).out)

    def test_places(self):
        self.put("x.npy", npy(three_groups(10)))
        out = self.describe("x.npy", "--neighbours", 10, "--csv", "o.csv")
        self.assertEqual((out["method"], out["metric"], out["items"]), ("umap", "cosine", 30))
        points = [(p["x"], p["y"]) for p in out["points"]]
        within, between = spread_over(points, lambda i: i % 3)
        self.assertLess(within, between)
        rows = list(csv.DictReader(io.StringIO((self.folder / "o.csv").read_text())))
        self.assertEqual([row["name"] for row in rows], [f"row {i}" for i in range(30)])
        for row, point in zip(rows, points):
            self.assertAlmostEqual(float(row["x"]), point[0], places=4)
            self.assertAlmostEqual(float(row["y"]), point[1], places=4)
        again = self.describe("x.npy", "--neighbours", 10, "--threads", 1)
        self.assertEqual(again["points"], out["points"])
        self.assertNotEqual(self.describe("x.npy", "--neighbours", 10, "--seed", 1)["points"], out["points"])
        self.assertIn("30 items by UMAP", self.map("x.npy").out)
        self.assertIn("row 29", self.map("x.npy").out)
        self.assertNotIn("row 29", self.map("x.npy", "--csv", "o.csv").out)

    def test_principal_components(self):
        """Of a tilted line the first axis is the line."""
        self.put("x.npy", npy([[i + 0.1 * (i % 2), 2 * i, 5] for i in range(8)]))
        out = self.describe("x.npy", "--method", "pca", "--trustworthiness", 2)
        self.assertGreater(out["variance"][0], 0.99)
        self.assertAlmostEqual(sum(out["variance"]), 1)
        xs = [p["x"] for p in out["points"]]
        self.assertEqual(xs, sorted(xs))
        self.assertAlmostEqual(xs[7] - xs[0], math.hypot(7.1, 14), places=1)
        self.assertEqual({k: out["trustworthiness"][k] for k in ("neighbours", "items")}, {"neighbours": 2, "items": 8})
        euclidean = self.describe("x.npy", "--method", "pca", "--metric", "euclidean", "--trustworthiness", 2)
        self.assertAlmostEqual(euclidean["trustworthiness"]["value"], 1)

    def colours(self, path):
        """The fills of the points, and the lines of the legend."""
        root = ElementTree.parse(self.folder / path).getroot()
        points, legend = root.findall(SVG + "g")
        return ([c.get("fill") for c in points.findall(SVG + "circle")],
                [t.text for t in legend.findall(SVG + "text")])

    def test_colours(self):
        self.put("x.npy", npy(three_groups() + [[-1, -1, -1, 0]]))
        self.put("labels.txt", "".join(f"<{'abc'[i % 3]}> & co\n" for i in range(18)) + "\n")
        fills, legend = {}, {}
        for what in ("label", "cluster", "uniqueness", "none"):
            labels = ["--labels-from", "labels.txt"] if what == "label" else []
            self.map("x.npy", "--method", "pca", "--colour-by", what, "--svg", "m.svg", *labels)
            fills[what], legend[what] = self.colours("m.svg")
        self.assertEqual(legend["label"], ["<a> & co", "<b> & co", "<c> & co"])
        self.assertEqual([len(set(fills["label"][g:18:3])) for g in range(3)], [1, 1, 1])
        self.assertEqual(len(set(fills["label"])), 4)
        self.assertEqual(len(set(fills["none"])), 1)
        self.assertIn("cluster 0", legend["cluster"])
        clusters = [p["cluster"] for p in self.describe("x.npy", "--colour-by", "cluster")["points"]]
        self.assertEqual(len(set(zip(clusters, fills["cluster"]))), len(set(clusters)))
        self.assertEqual(fills["uniqueness"].count(fills["uniqueness"][18]), 1)
        self.assertEqual(len(legend["uniqueness"]), 5)
        rows = self.describe("x.npy", "--colour-by", "uniqueness")["points"]
        self.assertEqual(max(rows, key=lambda p: p["uniqueness"])["name"], "row 18")
        self.map("x.npy", "--svg", "m.svg", "--labels-from", "labels.txt")
        self.assertEqual(self.colours("m.svg")[1], legend["label"])

    def test_anomalies(self):
        """By a detector's own scores, whatever --centre does to the map; it must be of such vectors."""
        self.put("usual.npy", npy(three_groups()))
        self.put("x.npy", npy(three_groups() + [[-1, -1, -1, 0]]))
        self.put("other.npy", npy([[1, 2], [2, 1], [1, 1], [2, 2]]))
        self.run_kindred("anomalies", "fit", "usual.npy", "--method", "knn", "-o", "usual.kin")
        scored = json.loads(self.run_kindred("anomalies", "score", "usual.kin", "x.npy", "--json").out)
        scores = {item["name"]: item["score"] for item in scored["ranked"]}
        out = self.describe("x.npy", "--detector", "usual.kin", "--svg", "m.svg", "--csv", "m.csv", "--centre")
        self.assertEqual({p["name"]: p["anomaly"] for p in out["points"]}, scores)
        rows = list(csv.DictReader(io.StringIO((self.folder / "m.csv").read_text())))
        for row in rows:
            self.assertAlmostEqual(float(row["anomaly"]), scores[row["name"]], delta=1e-5)
        self.assertEqual(max(rows, key=lambda row: float(row["anomaly"]))["name"], "row 18")
        fills, legend = self.colours("m.svg")
        self.assertEqual((fills.count(fills[18]), len(legend)), (1, 5))
        self.assertIn("floats", self.map("other.npy", "--detector", "usual.kin", status=1).err)
        self.assertIn("needs --detector", self.map("x.npy", "--colour-by", "anomaly", status=2).err)
        self.assertIn("x.npy", self.map("x.npy", "--detector", "x.npy", status=1).err)

    def test_search(self):
        """Approximate neighbours of 1,200 points on a plane are nearly the exact ones, and the map says how nearly."""
        self.put("x.npy", npy([[math.cos(i), math.sin(i), i % 7, i % 11] for i in range(1200)]))
        exact = self.describe("x.npy", "--search", "exact", "--colour-by", "uniqueness")
        near = self.describe("x.npy", "--search", "approximate", "--colour-by", "uniqueness")
        self.assertEqual((exact["recall"], self.describe("x.npy")["recall"]), (1, 1))
        self.assertGreater(near["recall"], 0.95)
        same = sum(a["uniqueness"] == b["uniqueness"] for a, b in zip(exact["points"], near["points"]))
        self.assertGreater(same, 1100)
        self.assertIn("--search some is not", self.map("x.npy", "--search", "some", status=2).err)

    def test_photos_by_folder_and_date(self):
        photos = self.put_pictures(*(f"photos/{c}/{i}.png" for c in ("cats", "dogs") for i in range(3)))
        for i, name in enumerate(photos):
            os.utime(self.folder / name, (1e9 + 1e8 * i, 1e9 + 1e8 * i))
        self.put("photos/broken.png", b"no picture")
        args = ["photos", "--model", self.clip, "--svg", "m.svg", "-q"]
        out = self.describe(*args, "--colour-by", "folder", status=3)
        self.assertEqual((out["items"], out["skipped"]), (6, 1))
        self.assertEqual([p["label"] for p in out["points"]], ["cats"] * 3 + ["dogs"] * 3)
        self.assertEqual(self.colours("m.svg")[1], ["cats", "dogs"])
        self.map(*args, "--colour-by", "date", status=3)
        fills, legend = self.colours("m.svg")
        self.assertEqual(len(set(fills)), 6)
        self.assertEqual([text[:4] for text in legend], ["2001", "2005", "2009", "2013", "2017"])

    def test_picture(self):
        """A dot lies where the SVG has it; the same seed gives the same bytes."""
        self.put("x.npy", npy(three_groups()))
        files = {}
        for threads in (1, 2):
            self.map("x.npy", "--png", "m.png", "--svg", "m.svg", "--size", 300, "--threads", threads)
            files[threads] = [(self.folder / name).read_bytes() for name in ("m.png", "m.svg")]
        self.assertEqual(files[1], files[2])
        rows = read_png(files[1][0])
        self.assertEqual((len(rows), len(rows[0])), (300, 900))
        for circle in ElementTree.fromstring(files[1][1]).find(SVG + "g").findall(SVG + "circle"):
            x, y, fill = float(circle.get("cx")), float(circle.get("cy")), bytes.fromhex(circle.get("fill")[1:])
            pixel = rows[int(y)][3 * int(x):3 * int(x) + 3]
            self.assertTrue(all(abs(a - b) < 60 for a, b in zip(pixel, fill)), (pixel, fill))
        self.assertEqual(rows[0][:3], b"\xff\xff\xff")

    def test_few_and_same(self):
        for name, rows in (("one", [[1, 2]]), ("two", [[1, 2], [2, 1]]), ("same", [[1, 2, 3]] * 7),
                           ("zeros", [[0, 0]] * 4), ("narrow", [[i] for i in range(5)])):
            self.put("x.npy", npy(rows))
            for method in ("umap", "pca"):
                out = self.describe("x.npy", "--method", method, "--png", "m.png", "--svg", "m.svg", "--csv", "o.csv",
                                    "--size", 64)
                self.assertEqual(len(out["points"]), len(rows))
                self.assertTrue(all(isinstance(p[axis], float) for p in out["points"] for axis in "xy"), (name, method))
                self.assertNotRegex((self.folder / "m.svg").read_text(), re.compile("nan|inf", re.I))
                for colours in ("uniqueness", "date"):
                    self.map("x.npy", "--method", method, "--colour-by", colours, "--svg", "m.svg")

    def test_bad_input(self):
        self.put("x.npy", npy(three_groups(2)))
        self.put("nan.npy", npy([[1, 2], [float("nan"), 1]]))
        for args, status, message in (
                (["x.npy", "--method", "tsne"], 2, "umap or pca"), (["x.npy", "--neighbours", 1], 2, "at least 2"),
                (["x.npy", "--neighbours", 7], 1, "7 neighbours of 6 vectors"), (["x.npy", "--min-dist", 2], 2, "0 to 1"),
                (["x.npy", "--min-dist", "nan"], 2, "min-dist"), (["x.npy", "--size", 20], 2, "64 to 8192"),
                (["x.npy", "--colour-by", "mood"], 2, "--colour-by mood is not"),
                (["x.npy", "--colour-by", "label"], 2, "needs --labels-from"),
                (["x.npy", "--colour-by", "folder", "--labels-from", "l.txt"], 2, "doesn't go with"),
                (["x.npy", "--trustworthiness", 3], 1, "over 3 neighbours of 6 vectors: must be 1 to 2"),
                (["x.npy", "--metric", "taxi"], 2, "cosine or euclidean"),
                (["nan.npy"], 1, "the vector of row 1 holds a value that isn't finite"),
                (["missing.npy"], 1, "missing.npy"), (["x.npy", "--png", "none/such/m.png"], 1, "can't write")):
            self.assertIn(message, self.map(*args, status=status).err, args)
        self.assertFalse([name for name in self.files() if "partial" in name])


if __name__ == "__main__":
    main()
