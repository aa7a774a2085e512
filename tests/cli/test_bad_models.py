"""Model directories that are broken in one way: the message names the file and the reason."""
import json
import shutil
import struct

from support import CommandTest, make_bert, main, write_json, write_safetensors


def read_safetensors(path):
    data = path.read_bytes()
    size, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    return {name: (t["dtype"], t["shape"], data[8 + size:][t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in header.items()}


class BadModels(CommandTest):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"

    def fresh(self, source):
        shutil.rmtree(self.model, ignore_errors=True)
        shutil.copytree(source, self.model)

    def check(self, *parts):
        result = self.run_kindred("model", "info", "model", status=1)
        self.assertEqual(result.out, "")
        self.assertTrue(result.err.startswith("kindred: "), result.err)
        self.assertEqual(result.err.count("\n"), 1, result.err)
        for part in parts:
            self.assertIn(part, result.err)

    def test_missing_files(self):
        for source, names in ((self.clip, ("config.json", "model.safetensors", "preprocessor_config.json", "vocab.json",
                                           "merges.txt")),
                              (self.dino, ("config.json", "model.safetensors", "preprocessor_config.json"))):
            for name in names:
                self.fresh(source)
                (self.model / name).unlink()
                if name == "model.safetensors": # or an index of shards
                    self.check("model: neither model.safetensors nor model.safetensors.index.json")
                elif name == "config.json": # or open_clip's
                    self.check("model: no model directory: it has no config.json")
                elif name == "vocab.json": # or another kind of tokenizer
                    self.check("model: no tokenizer", "vocab.json + merges.txt")
                else:
                    self.check(f"model/{name}", "No such file")

    def test_missing_directory(self):
        result = self.run_kindred("model", "info", "nowhere", status=1)
        self.assertIn("nowhere: no such directory", result.err)

    def test_damaged_json(self):
        for name in ("config.json", "preprocessor_config.json", "vocab.json"):
            self.fresh(self.clip)
            (self.model / name).write_text('{"model_type": ')
            self.check(f"model/{name}")

    def test_unknown_architecture(self):
        self.fresh(self.clip)
        (self.model / "config.json").write_text('{"model_type": "gpt9000"}')
        self.check("model", "gpt9000", "clip", "dinov2")

    def change_tensor(self, name, change):
        self.fresh(self.clip)
        path = self.model / "model.safetensors"
        tensors = read_safetensors(path)
        tensors[name] = change(*tensors[name])
        if tensors[name] is None:
            del tensors[name]
        write_safetensors(path, tensors)

    def test_not_a_number(self):
        name = "vision_model.encoder.layers.1.mlp.fc1.weight"
        self.change_tensor(name, lambda dtype, shape, data: (dtype, shape, data[:400] + struct.pack("<f", float("nan")) +
                                                             data[404:]))
        self.check("model/model.safetensors", name, "element 100 is not a number")

    def test_wrong_dtype(self):
        name = "text_model.encoder.layers.0.self_attn.q_proj.weight"
        self.change_tensor(name, lambda dtype, shape, data: ("I32", shape, data))
        self.check("model/model.safetensors", name, "I32")

    def test_wrong_shape(self):
        name = "visual_projection.weight"
        self.change_tensor(name, lambda dtype, shape, data: (dtype, shape[::-1], data))
        self.check("model/model.safetensors", name, "[64, 32]")

    def test_missing_tensor(self):
        name = "text_model.final_layer_norm.bias"
        self.change_tensor(name, lambda *_: None)
        self.check("model/model.safetensors", name)

    def test_truncated_weights(self):
        self.fresh(self.clip)
        path = self.model / "model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
        self.check("model/model.safetensors")
        path.write_bytes(b"")
        self.check("model/model.safetensors")

    def test_half_precision_weights_load(self):
        self.put("lines.txt", "cat\n")
        rows = self.embed("-t", "the cat")
        self.fresh(self.clip)
        path = self.model / "model.safetensors"
        halves = {}
        for name, (_, shape, data) in read_safetensors(path).items():
            values = struct.unpack(f"<{len(data) // 4}f", data)
            halves[name] = ("F16", shape, struct.pack(f"<{len(values)}e", *values))
        write_safetensors(path, halves)
        half, = self.embed("-t", "the cat", model=self.model)
        self.assertGreater(sum(x * y for x, y in zip(half, rows[0])), 0.999)
        self.assertNotEqual(half, rows[0])

    def sentence_encoder(self):
        shutil.rmtree(self.model, ignore_errors=True)
        make_bert(self.model)

    def test_missing_dense_module(self):
        self.sentence_encoder()
        modules = json.loads((self.model / "modules.json").read_text())
        modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
        write_json(self.model, "modules.json", modules)
        self.check("model/2_Dense/config.json", "No such file")
        (self.model / "2_Dense").mkdir()
        write_json(self.model, "2_Dense/config.json",
                   {"in_features": 64, "out_features": 32, "bias": False,
                    "activation_function": "torch.nn.modules.linear.Identity"})
        self.check("model/2_Dense", "model.safetensors")

    def test_vocabulary_that_does_not_match(self):
        self.sentence_encoder()
        with open(self.model / "vocab.txt", "a") as f:
            f.write("more\nwords\n")
        self.check("model: the tokenizer has ids up to 12, but the embedding only 11 rows")
        self.sentence_encoder()
        config = json.loads((self.model / "config.json").read_text())
        write_json(self.model, "config.json", config | {"vocab_size": 20})
        self.check("model/model.safetensors", "word_embeddings.weight", "[11, 64]", "[20, 64]")

    def test_unknown_tokenizer(self):
        self.sentence_encoder()
        write_json(self.model, "tokenizer.json", {"version": "1.0", "model": {"type": "Telepathy", "vocab": {}}})
        self.check("model/tokenizer.json", "Telepathy")


if __name__ == "__main__":
    main()
