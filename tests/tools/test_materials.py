"""The scripts that lay out materials: their readers of foreign containers, and the cache's promises."""
import array
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

TOOLS = pathlib.Path(os.environ["KINDRED_SOURCE"]) / "tools"
sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True
import materials  # noqa: E402
from material import e5, fetch, focus, fortunes, onnx, photos, png, rcc, safetensors, stamps  # noqa: E402


def field(number, value):
    """A field of a protocol buffer's message."""
    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, shape, floats):
    return (b"".join(field(1, size) for size in shape) + field(2, onnx.FLOAT) + field(8, name.encode()) +
            field(9, struct.pack(f"<{len(floats)}f", *floats)))


class Fortunes(unittest.TestCase):
    def test_sayings(self):
        long = "A saying that goes over two lines, of which\n\tthe second is set in."
        text = f"Too short.\n%\n{long}\n\t\t-- Somebody\n%\n{'x' * 401}\n%\n{long[:41]}\n%\n"
        self.assertEqual(list(fortunes.sayings(text)), [re.sub(r"\s+", " ", long), long[:41]])


class Onnx(unittest.TestCase):
    def test_weights_and_nodes(self):
        node = field(1, b"input") + field(1, b"onnx::MatMul_1") + field(3, b"/fc/MatMul") + field(4, b"MatMul")
        graph = field(1, node) + field(5, tensor("onnx::MatMul_1", [2, 3], range(6))) + field(2, b"graph" * 40)
        tensors, nodes = onnx.read(field(1, 8) + field(7, graph))
        self.assertEqual(nodes, {"/fc/MatMul": ["input", "onnx::MatMul_1"]})
        self.assertEqual(tensors["onnx::MatMul_1"], ([2, 3], array.array("f", range(6))))
        self.assertEqual(onnx.transposed(tensors["onnx::MatMul_1"]), ([3, 2], array.array("f", [0, 3, 1, 4, 2, 5])))


class Safetensors(unittest.TestCase):
    def test_written_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.safetensors"
            safetensors.write(path, {"b": ([2], array.array("f", [1, 2])), "a": ([1, 1], array.array("f", [3]))})
            data = path.read_bytes()
        size, = struct.unpack_from("<Q", data)
        header = json.loads(data[8:8 + size])
        self.assertEqual(size % 8, 0)
        self.assertEqual(header["a"], {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]})
        self.assertEqual(header["b"], {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]})
        self.assertEqual(struct.unpack("<3f", data[8 + size:]), (3, 1, 2))


class E5(unittest.TestCase):
    def test_blocks_of_four_bits(self):
        packed = bytes(low | (15 - low) << 4 for low in range(16))
        data = struct.pack("<e16s", 0.5, packed) + struct.pack("<e16s", -0.25, bytes(16))
        floats = struct.unpack("<64e", e5.halves(data, {}))
        self.assertEqual(floats[:16], tuple((q - 8) / 2 for q in range(16)))
        self.assertEqual(floats[16:32], tuple((7 - q) / 2 for q in range(16)))
        self.assertEqual(floats[32:], (2.0,) * 32)

    def test_names_and_shapes(self):
        config = {"hidden_size": 384, "intermediate_size": 1536}
        for name, weights, bert, shape in (
                ("emb.word", 384 * 7, "embeddings.word_embeddings.weight", [7, 384]),
                ("emb.ln.b", 384, "embeddings.LayerNorm.bias", [384]),
                ("l3.q.w", 384 * 384, "encoder.layer.3.attention.self.query.weight", [384, 384]),
                ("l11.fo.w", 384 * 1536, "encoder.layer.11.output.dense.weight", [384, 1536]),
                ("l0.fi.b", 1536, "encoder.layer.0.intermediate.dense.bias", [1536]),
                ("l0.aln.w", 384, "encoder.layer.0.attention.output.LayerNorm.weight", [384])):
            self.assertEqual((e5.bert_name(name), e5.shape_of(name, weights, config)), (bert, shape))


def picture(kind, width, rows, *more):
    """A PNG; rows hold their filter's byte."""
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return (png.SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, kind, 0, 0, 0)) +
            b"".join(chunk(name, content) for name, content in more) +
            chunk(b"IDAT", zlib.compress(b"".join(map(bytes, rows)))) + chunk(b"IEND", b""))


class Png(unittest.TestCase):
    def pixels(self, data):
        found = dict(png.chunks(data))
        width, height, _, kind = struct.unpack_from(">IIBB", found[b"IHDR"])
        self.assertEqual(kind, 2)
        return [list(row) for row in png.rows(zlib.decompress(found[b"IDAT"]), width, height, 3)]

    def test_transparency_becomes_white(self):
        data = picture(png.RGBA, 3, [[0, 10, 20, 30, 255, 1, 2, 3, 0, 100, 0, 0, 51]])
        self.assertEqual(self.pixels(png.flatten(data)), [[10, 20, 30, 255, 255, 255, 224, 204, 204]])

    def test_filters(self):
        plain = [[7, 9, 250, 255], [3, 200, 4, 255], [90, 1, 77, 255], [8, 16, 32, 255]]
        rows, above = [], [0] * 8
        for kind, offset in zip(range(5), range(5)):
            row = plain[offset % 4] + plain[(offset + 1) % 4]
            coded = []
            for i, value in enumerate(row):
                left, up, corner = (row[i - 4], above[i], above[i - 4]) if i >= 4 else (0, above[i], 0)
                estimate = left + up - corner
                nearest = min((left, up, corner), key=lambda v, e=estimate: abs(e - v))
                coded.append(value - (0, left, up, (left + up) // 2, nearest)[kind] & 255)
            rows.append([kind, *coded])
            above = row
        expected = [plain[i % 4][:3] + plain[(i + 1) % 4][:3] for i in range(5)]
        self.assertEqual(self.pixels(png.flatten(picture(png.RGBA, 2, rows))), expected)

    def test_palette_and_grey(self):
        data = picture(png.PALETTE, 2, [[0, 0, 1]], (b"PLTE", bytes([1, 2, 3, 4, 5, 6])), (b"tRNS", bytes([0])))
        self.assertEqual(self.pixels(png.flatten(data)), [[255, 255, 255, 4, 5, 6]])
        self.assertEqual(self.pixels(png.flatten(picture(png.GREY_ALPHA, 1, [[0, 80, 255]]))), [[80, 80, 80]])
        opaque = picture(2, 1, [[0, 1, 2, 3]])
        self.assertEqual(png.flatten(opaque), opaque)


class Stamps(unittest.TestCase):
    def test_captions(self):
        text = "A fire truck.\nde.utf8=Ein Feuerwehrauto\nko.utf8=소방차\n"
        self.assertEqual(stamps.captions(text), {"en": "A fire truck.", "ko": "소방차"})
        self.assertEqual(stamps.captions("A dog.\nko.utf8=\n"), {"en": "A dog."})


def container(files):
    """An .rcc file with one folder "d" of {name: (flags, stored bytes)}."""
    names, data = b"", b""
    nodes = [(0, rcc.DIRECTORY, 1, 1)]
    for name in ["d", *files]:
        at = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        if name == "d":
            nodes.append((at, rcc.DIRECTORY, len(files), 2))
        else:
            flags, stored = files[name]
            nodes.append((at, flags, 0, len(data)))
            data += struct.pack(">I", len(stored)) + stored
    tree = b"".join(struct.pack(">IHIIQ", *node, 0) for node in nodes)
    start = 20
    return (b"qres" + struct.pack(">IIII", 2, start, start + len(tree), start + len(tree) + len(data)) + tree + data +
            names)


class Rcc(unittest.TestCase):
    def test_plain_and_compressed(self):
        text = b"photo" * 100
        files = {"plain.webp": (0, text), "zip.webp": (rcc.ZLIB, struct.pack(">I", len(text)) + zlib.compress(text))}
        try:
            zstd = subprocess.run(["zstd", "-cq"], input=text, stdout=subprocess.PIPE, check=True).stdout
            files["zstd.webp"] = (rcc.ZSTD, zstd)
        except FileNotFoundError:
            pass
        found = {path: content() for path, content in rcc.entries(container(files))}
        self.assertEqual(found, {f"/d/{name}": text for name in files})

    def test_other_file(self):
        with self.assertRaises(ValueError):
            list(rcc.entries(b"RIFF" + bytes(40)))


class Credits(unittest.TestCase):
    def test_last_stanza_counts(self):
        text = ("Files: *\nCopyright: all\nLicense: GPL-3+\n\n"
                "Files: src/a/*.jpg\n  src/b/*\nCopyright: Ann\nLicense: CC0-1.0\n\n"
                "Files: src/a/cat.jpg\nCopyright: Bob\n  Eve\nLicense: CC-BY-3.0\n")
        lines = photos.credits({"p/cat.webp": "src/a/cat", "p/dog.webp": "src/a/dog", "p/x.webp": "src/x"}, text)
        self.assertIn("p/cat.webp\n  Copyright: Bob\n  Eve\n  License: CC-BY-3.0\n", lines)
        self.assertIn("p/dog.webp\n  Copyright: Ann\n  License: CC0-1.0\n", lines)
        self.assertIn("p/x.webp\n  Copyright: the GCompris developers\n  License: GPL-3+\n", lines)


class Cache(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.cache = pathlib.Path(temporary.name) / "cache"
        self.built = 0
        self.addCleanup(materials.MATERIALS.pop, "toy")
        materials.MATERIALS["toy"] = (self.build, 1, "a toy")

    def build(self, folder, scratch):
        self.assertTrue(scratch.is_dir())
        self.built += 1
        (folder / "file").write_text(str(self.built))

    def test_made_once_and_again_for_a_new_revision(self):
        for _ in range(2):
            folder = materials.ensure("toy", self.cache)
        self.assertEqual((folder, (folder / "file").read_text()), (self.cache / "toy", "1"))
        materials.MATERIALS["toy"] = (self.build, 2, "a toy")
        materials.ensure("toy", self.cache)
        self.assertEqual((folder / "file").read_text(), "2")
        self.assertEqual(os.listdir(self.cache), ["toy"])

    def test_failure_leaves_nothing(self):
        def fail(folder, _scratch):
            (folder / "half").write_text("x")
            fetch.check(b"damaged", focus.SHA256, "weights")
        materials.MATERIALS["toy"] = (fail, 1, "a toy")
        with self.assertRaisesRegex(fetch.MaterialError, "weights: SHA-256 is .*, expected 198644e3"):
            materials.ensure("toy", self.cache)
        self.assertEqual(os.listdir(self.cache), [])

    def test_unknown_name(self):
        result = subprocess.run([sys.executable, TOOLS / "materials.py", "nothing"], stderr=subprocess.PIPE, check=False)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"no material nothing", result.stderr)


if __name__ == "__main__":
    unittest.main()
