"""What the command's tests share: tiny models and pictures made here, and ways to run the command."""
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

BIN = os.environ.get("KINDRED_BIN", "")
HIDDEN, DIM, LAYERS, SIZE, PATCH, CONTEXT = 64, 32, 2, 32, 8, 16


def byte_characters():
    """The printable stand-ins of the 256 bytes in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    table = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [table[b] for b in [*plain, *others]]


def vocabulary():
    letters = byte_characters()
    merges = [("t", "h"), ("th", "e</w>"), ("c", "a"), ("ca", "t</w>"), ("r", "o"), ("a", "d</w>"), ("ro", "ad</w>")]
    tokens = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}, merges


def write_safetensors(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}."""
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + b"".join(data for _, _, data in tensors.values()))


class Weights(dict):
    """Seeded tensors by name, scaled so that what goes in shows in what comes out."""

    def __init__(self, seed):
        super().__init__()
        self.random = random.Random(seed)

    def put(self, name, shape, mean=0.0, deviation=None):
        if deviation is None:
            deviation = 1 / math.sqrt(math.prod(shape[1:]))
        n = math.prod(shape)
        values = [mean + deviation * self.random.gauss(0, 1) for _ in range(n)] if deviation else [mean] * n
        self[name] = ("F32", list(shape), struct.pack(f"<{n}f", *values))

    def linear(self, name, rows, columns):
        self.put(name + ".weight", [rows, columns], deviation=1.5 / math.sqrt(columns))
        self.put(name + ".bias", [rows], deviation=0.05)

    def norm(self, name, width):
        self.put(name + ".weight", [width], mean=1.0, deviation=0.2)
        self.put(name + ".bias", [width], deviation=0.1)


def write_json(folder, name, value):
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def preprocessor(kind):
    return {"image_processor_type": kind, "do_convert_rgb": True, "do_resize": True, "size": {"shortest_edge": SIZE},
            "resample": 3, "do_center_crop": True, "crop_size": {"height": SIZE, "width": SIZE}, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}


def make_clip(folder, seed="clip", text_seed=None):
    """With `text_seed`, only the image tower comes from `seed`."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    tokens, merges = vocabulary()
    tower = {"hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "num_hidden_layers": LAYERS,
             "num_attention_heads": 2, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    write_json(folder, "config.json", {
        "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": DIM,
        "vision_config": {**tower, "image_size": SIZE, "patch_size": PATCH},
        "text_config": {**tower, "vocab_size": len(tokens), "max_position_embeddings": CONTEXT,
                        "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}})
    write_json(folder, "preprocessor_config.json", preprocessor("CLIPImageProcessor"))
    write_json(folder, "vocab.json", tokens)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")

    w = Weights(seed)
    for name, positions in (("vision_model", (SIZE // PATCH) ** 2 + 1), ("text_model", CONTEXT)):
        if name == "text_model" and text_seed:
            w.random = random.Random(text_seed)
        w.put(f"{name}.embeddings.position_embedding.weight", [positions, HIDDEN], deviation=0.2)
        for i in range(LAYERS):
            layer = f"{name}.encoder.layers.{i}"
            for part in "qkv":
                w.linear(f"{layer}.self_attn.{part}_proj", HIDDEN, HIDDEN)
            w.linear(f"{layer}.self_attn.out_proj", HIDDEN, HIDDEN)
            w.linear(f"{layer}.mlp.fc1", 2 * HIDDEN, HIDDEN)
            w.linear(f"{layer}.mlp.fc2", HIDDEN, 2 * HIDDEN)
            w.norm(f"{layer}.layer_norm1", HIDDEN)
            w.norm(f"{layer}.layer_norm2", HIDDEN)
    w.put("vision_model.embeddings.class_embedding", [HIDDEN], deviation=0.2)
    w.put("vision_model.embeddings.patch_embedding.weight", [HIDDEN, 3, PATCH, PATCH])
    w.norm("vision_model.pre_layrnorm", HIDDEN)
    w.norm("vision_model.post_layernorm", HIDDEN)
    w.put("text_model.embeddings.token_embedding.weight", [len(tokens), HIDDEN], deviation=1.0)
    w.norm("text_model.final_layer_norm", HIDDEN)
    w.put("visual_projection.weight", [DIM, HIDDEN])
    w.put("text_projection.weight", [DIM, HIDDEN])
    w.put("logit_scale", [], mean=4.6, deviation=0)
    write_safetensors(folder / "model.safetensors", w)
    return folder


def make_dinov2(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    write_json(folder, "config.json", {
        "model_type": "dinov2", "architectures": ["Dinov2Model"], "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "mlp_ratio": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "image_size": SIZE,
        "patch_size": PATCH, "num_channels": 3, "qkv_bias": True, "use_swiglu_ffn": False})
    write_json(folder, "preprocessor_config.json", preprocessor("BitImageProcessor"))
    w = Weights("dinov2")
    w.put("embeddings.cls_token", [1, 1, HIDDEN], deviation=0.2)
    w.put("embeddings.mask_token", [1, HIDDEN], deviation=0.2)
    w.put("embeddings.position_embeddings", [1, (SIZE // PATCH) ** 2 + 1, HIDDEN], deviation=0.2)
    w.put("embeddings.patch_embeddings.projection.weight", [HIDDEN, 3, PATCH, PATCH])
    w.put("embeddings.patch_embeddings.projection.bias", [HIDDEN], deviation=0.05)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            w.linear(f"{layer}.attention.attention.{part}", HIDDEN, HIDDEN)
        w.linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        w.linear(f"{layer}.mlp.fc1", 2 * HIDDEN, HIDDEN)
        w.linear(f"{layer}.mlp.fc2", HIDDEN, 2 * HIDDEN)
        w.norm(f"{layer}.norm1", HIDDEN)
        w.norm(f"{layer}.norm2", HIDDEN)
        for n in (1, 2):
            w.put(f"{layer}.layer_scale{n}.lambda1", [HIDDEN], mean=0.7, deviation=0.2)
    w.norm("layernorm", HIDDEN)
    write_safetensors(folder / "model.safetensors", w)
    return folder


def make_bert(folder, context=16):
    """A sentence encoder in sentence-transformers' layout: words of a small vocabulary, else [UNK]."""
    folder = pathlib.Path(folder)
    (folder / "1_Pooling").mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "road", ".", "&"]
    write_json(folder, "config.json", {
        "model_type": "bert", "hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "vocab_size": len(words),
        "max_position_embeddings": context, "type_vocab_size": 2, "pad_token_id": 0})
    write_json(folder, "modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])
    write_json(folder, "1_Pooling/config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True})
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    w = Weights("bert")
    for name, rows in (("word", len(words)), ("position", context), ("token_type", 2)):
        w.put(f"embeddings.{name}_embeddings.weight", [rows, HIDDEN], deviation=1.0)
    w.norm("embeddings.LayerNorm", HIDDEN)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            w.linear(f"{layer}.attention.{part}", HIDDEN, HIDDEN)
        w.linear(f"{layer}.intermediate.dense", 2 * HIDDEN, HIDDEN)
        w.linear(f"{layer}.output.dense", HIDDEN, 2 * HIDDEN)
        w.norm(f"{layer}.attention.output.LayerNorm", HIDDEN)
        w.norm(f"{layer}.output.LayerNorm", HIDDEN)
    write_safetensors(folder / "model.safetensors", w)
    return folder


def png(seed, width=40, height=36):
    """A picture of a few coloured blocks, different for each seed."""
    r = random.Random(seed)
    blocks = [[bytes(r.randrange(256) for _ in range(3)) for _ in range(5)] for _ in range(4)]
    rows = []
    for y in range(height):
        line = blocks[y * 4 // height]
        rows.append(b"\0" + b"".join(line[x * 5 // width] for x in range(width)))

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b""))


def read_npy(path):
    """Rows of a float32 .npy file, by the format's definition."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size, = struct.unpack_from("<H", data, 8)
    header = eval(data[10:10 + size], {})
    assert header["descr"] == "<f4" and not header["fortran_order"]
    count, dim = header["shape"]
    values = data[10 + size:]
    assert len(values) == count * dim * 4 and (10 + size) % 64 == 0
    return [struct.unpack_from(f"<{dim}f", values, i * dim * 4) for i in range(count)]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


class CommandTest(unittest.TestCase):
    """A folder of its own for each test; two tiny models for all."""

    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="kindred-cli-"))
        os.chmod(cls.shared, 0o755)
        cls.clip = make_clip(cls.shared / "clip")
        cls.dino = make_dinov2(cls.shared / "dino")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kindred-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def put(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return name

    def put_pictures(self, *names):
        for name in names:
            self.put(name, png(name))
        return list(names)

    def run_kindred(self, *args, status=0, env=None, **options):
        """Run the command in the test's folder and demand an exit status."""
        env = {k: v for k, v in os.environ.items() if k != "KINDRED_MODEL"} | (env or {})
        options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run([BIN, *map(str, args)], cwd=self.folder, env=env, capture_output=True, timeout=300,
                                **options)
        result.out = result.stdout.decode("utf-8", "replace")
        result.err = result.stderr.decode("utf-8", "replace")
        if status is not None:
            self.assertEqual(result.returncode, status, f"{args}\n{result.out}\n{result.err}")
        return result

    def embed(self, *args, model=None, status=0, **options):
        """Embed to out.npy and return its rows."""
        self.run_kindred("embed", "--model", model or self.clip, "-o", "out.npy", *args, status=status, **options)
        return read_npy(self.folder / "out.npy")

    def files(self):
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*"))


def main():
    if not os.access(BIN, os.X_OK):
        print("KINDRED_BIN names no program: run the tests through ctest")
        sys.exit(77)
    unittest.main()
