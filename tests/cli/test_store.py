"""kindred store and its parts, with tiny models."""
import json
import struct

from support import CommandTest, main


class Store(CommandTest):
    def setUp(self):
        super().setUp()
        self.put_pictures(*(f"p/{i}.png" for i in range(6)))
        self.run_kindred("index", "-m", self.clip, "p")

    def json(self, *args, status=0):
        return json.loads(self.run_kindred("store", *args, "--json", status=status).out)

    def flip(self, name, at):
        with open(self.folder / name, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0] ^ 1
            file.seek(at)
            file.write(bytes([byte]))


class Stats(Store):
    def test_counts_and_files(self):
        (self.folder / "p/0.png").unlink()
        self.run_kindred("index", "p")
        self.run_kindred("index", "-m", self.dino, "p")
        stats = self.json("stats")
        self.assertEqual([stats[key] for key in ("items", "vectors", "holes")], [5, 10, 1])
        self.assertEqual([(c["vectors"], c["holes"], c["dim"]) for c in stats["collections"]], [(5, 1, 32), (5, 0, 64)])
        self.assertEqual(stats["collections"][1]["model"], str(self.dino.resolve()))
        sizes = {f["path"]: f["bytes"] for f in stats["files"]}
        for kind in ("catalogue", "lock", "vectors"):
            self.assertIn(kind, [f["kind"] for f in stats["files"]])
        vectors = str(self.folder.resolve() / "kindred.db.vectors")
        self.assertEqual(sizes[vectors], 4096 + 6 * 192)
        self.assertEqual(stats["bytes"], sum(sizes.values()))
        lines = self.run_kindred("store", "stats").out
        for part in ("5 items, 5 vectors of 32 floats, 1 holes", str(self.clip), "kindred.db.2.vectors", "5,248"):
            self.assertIn(part, lines)

    def test_no_store(self):
        self.assertIn("no such store", self.run_kindred("store", "stats", "-s", "no.db", status=1).err)
        self.assertFalse((self.folder / "no.db").exists())


class Check(Store):
    def test_a_whole_store(self):
        self.assertEqual(self.run_kindred("store", "check").out,
                         "./kindred.db: 6 rows of 1 collection checked, no problems\n")
        self.assertEqual(self.json("check"), {"ok": True, "repaired": 0, "collections": 1, "rows": 6, "words_checked": True,
                                              "problems": []})
        self.assertEqual(self.run_kindred("store", "check", "-q").out, "")

    def test_damaged_bytes_are_found_and_named(self):
        self.flip("kindred.db.vectors", 4096 + 2 * 192 + 70)
        found = self.json("check", status=1)
        self.assertFalse(found["ok"])
        problem, = found["problems"]
        self.assertEqual(problem["file"], str(self.folder.resolve() / "kindred.db.vectors"))
        self.assertIn("row 2: wrong checksum", problem["problem"])
        self.assertIn(".png", problem["problem"])
        self.assertIn("--repair", problem["fix"])
        lines = self.run_kindred("store", "check", status=1).out.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[1].startswith("    fix: "))
        self.assertTrue(lines[2].endswith("1 problem"))
        # The way out that it names.
        lines = self.run_kindred("store", "check", "--repair").out.splitlines()
        self.assertTrue(lines[1].startswith("    repaired: "))
        self.assertTrue(lines[2].endswith("1 problem, 1 repaired"))
        self.assertIn("1 embedded, 5 unchanged", self.run_kindred("index", "p").out)
        self.run_kindred("store", "compact")
        self.assertTrue(self.json("check")["ok"])

    def test_no_store(self):
        self.assertIn("no such store", self.run_kindred("store", "check", "-s", "no.db", status=1).err)


class Compact(Store):
    def test_space_is_given_back(self):
        self.put_pictures(*(f"p/{i}.png" for i in range(6, 40)))
        for i in range(30):
            (self.folder / f"p/{i}.png").unlink()
        self.run_kindred("index", "p")
        before = self.run_kindred("search", "cat", "--json").out
        result = self.json("compact")
        self.assertEqual(result["holes"], 6)
        self.assertLess(result["bytes_after"], result["bytes_before"])
        self.assertEqual(result["bytes_after"], self.json("stats")["bytes"])
        self.assertEqual(self.run_kindred("search", "cat", "--json").out, before)
        self.assertTrue(self.json("check")["ok"])
        self.assertIn(": 0 holes closed, ", self.run_kindred("store", "compact").out)
        self.assertEqual(self.run_kindred("store", "compact", "-q").out, "")

    def test_no_store(self):
        self.assertIn("no such store", self.run_kindred("store", "compact", "-s", "no.db", status=1).err)
        self.assertFalse((self.folder / "no.db").exists())


class Transfer(Store):
    def vectors(self, store):
        """{path: the bytes of its vector} by the lines of an export."""
        lines = self.run_kindred("store", "export", "-s", store).out.splitlines()[1:]
        rows = [json.loads(line) for line in lines]
        return {row["path"]: struct.pack("<32f", *row["vector"]) for row in rows}

    def test_a_store_is_made_again(self):
        self.assertEqual(self.run_kindred("store", "export", "-o", "a.jsonl").out, "6 vectors written to a.jsonl\n")
        self.assertEqual(self.json("export", "-o", "a.npy", "--paths", "a.txt"),
                         {"vectors": 6, "output": "a.npy", "paths": "a.txt"})
        result = self.json("import", "a.jsonl", "-s", "copy.db")
        self.assertEqual([result[key] for key in ("vectors", "items", "replaced", "normalised")], [6, 6, 0, 0])
        self.assertEqual(self.vectors("copy.db"), self.vectors("kindred.db"))
        for query in (["cat"], ["--image", "p/3.png"], ["--bm25", "3"]):
            answers = [self.run_kindred("search", *query, "--json", "-s", store).out.replace("copy.db", "kindred.db")
                       for store in ("kindred.db", "copy.db")]
            self.assertEqual(*answers)
        self.assertTrue(self.json("check", "-s", "copy.db")["ok"])
        found = json.loads(self.run_kindred("index", "p", "-s", "copy.db", "--json").out)
        self.assertEqual((found["embedded"], found["unchanged"]), (0, 6))
        self.assertIn("6 vectors of 6 files taken, 6 replaced",
                      self.run_kindred("store", "import", "a.jsonl", "-s", "copy.db").out)

    def test_fvecs_as_others_read_and_write_them(self):
        self.run_kindred("store", "export", "-o", "a.fvecs", "--paths", "a.txt")
        data = (self.folder / "a.fvecs").read_bytes()
        paths = (self.folder / "a.txt").read_text().splitlines()
        self.assertEqual(len(data), 6 * (4 + 32 * 4))
        read = {}
        for i, path in enumerate(paths):
            dim, = struct.unpack_from("<i", data, i * 132)
            self.assertEqual(dim, 32)
            read[path] = data[i * 132 + 4:(i + 1) * 132]
        self.assertEqual(read, self.vectors("kindred.db"))
        written = [struct.pack("<32f", *([0] * i + [1] + [0] * (31 - i))) for i in range(6)]
        self.put("b.fvecs", b"".join(struct.pack("<i", 32) + row for row in written))
        self.run_kindred("store", "import", "b.fvecs", "--paths", "a.txt", "-m", self.clip, "-s", "new.db")
        self.assertEqual(self.vectors("new.db"), dict(zip(paths, written)))

    def test_npy_as_numpy_writes_it(self):
        """A header by the format's definition, version 1.0, and vectors that aren't of length 1."""
        head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 32), }"
        head += b" " * (117 - len(head)) + b"\n"
        rows = [struct.pack("<32f", *([2] + [0] * 31)), struct.pack("<32f", *([0] * 31 + [-4]))]
        self.put("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head + b"".join(rows))
        self.put("a.txt", "p/1.png\np/2.png\n")
        result = self.json("import", "a.npy", "--paths", "a.txt", "-m", self.clip, "-s", "new.db")
        self.assertEqual([result[key] for key in ("vectors", "normalised")], [2, 2])
        folder = self.folder.resolve()
        self.assertEqual(self.vectors("new.db"), {f"{folder}/p/1.png": struct.pack("<32f", *([1] + [0] * 31)),
                                                  f"{folder}/p/2.png": struct.pack("<32f", *([0] * 31 + [-1]))})

    def test_one_of_several_collections(self):
        self.run_kindred("index", "-m", self.dino, "p")
        self.assertIn("choose one", self.run_kindred("store", "export", status=1).err)
        lines = self.run_kindred("store", "export", "-m", self.dino).out.splitlines()
        self.assertEqual(json.loads(lines[0])["dim"], 64)
        self.assertEqual(self.run_kindred("store", "export", "-m", "2").out.splitlines(), lines)
        self.assertIn("no collection of", self.run_kindred("store", "export", "-m", "3", status=1).err)

    def test_mistakes(self):
        self.put("a.jsonl", '{"path": "p/1.png", "vector": [1, 0]}\n')
        error = self.run_kindred("store", "import", "a.jsonl", status=1).err
        self.assertIn("a.jsonl: has vectors of 2 floats, but", error)
        error = self.run_kindred("store", "import", "a.jsonl", "-m", self.clip, "-s", "new.db", status=1).err
        self.assertIn("makes 32", error)
        self.put("late.jsonl", json.dumps({"path": "p/1.png", "vector": [1] + [0] * 31}) + '\n{"path": "p/2.png"}\n')
        for args in (["none.jsonl"], ["a.jsonl", "-m", "no/model"], ["a.jsonl"], ["late.jsonl", "-m", self.clip]):
            self.run_kindred("store", "import", *args, "-s", "other.db", status=1)
        self.assertEqual([name for name in self.files() if name.startswith("other.db")], [])
        self.assertIn("give one file", self.run_kindred("store", "import", status=2).err)
        self.assertIn("given as -o", self.run_kindred("store", "export", "x.npy", status=2).err)
        self.assertIn("the ending must be", self.run_kindred("store", "export", "-o", "x.csv", status=1).err)
        self.put_pictures("p/line\nbreak.png")
        self.run_kindred("index", "p")
        error = self.run_kindred("store", "export", "-o", "x.npy", "--paths", "x.txt", status=1).err
        self.assertIn("export to .jsonl", error)
        self.assertEqual([name for name in self.files() if name.startswith("x.")], [])


class Parts(Store):
    def test_usage(self):
        self.assertIn("stats, check, compact, export, import", self.run_kindred("store", "burn", status=2).err)
        self.assertIn("which store", self.run_kindred("store", "check", "x.db", status=2).err)
        elsewhere = self.run_kindred("store", "check", "-s", "elasticsearch://127.0.0.1:1/photos", status=1)
        self.assertIn("has no files here", elsewhere.err)
        for part in ("stats", "check", "compact", "export", "import"):
            self.assertIn("Examples:", self.run_kindred("store", part, "--help").out)


if __name__ == "__main__":
    main()
