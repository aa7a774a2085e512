"""Another engine behind bench-encode's protocol (see encode.c): torch, onnxruntime or openvino.

    encode_peer.py ENGINE MODEL_DIR THREADS EXPORT_DIR PRECISION

onnxruntime and openvino run what torch.onnx exported from the transformers model; EXPORT_DIR keeps the files. Pixels
are normalised before the clock starts. bf16 is torch's autocast and OpenVINO's inference_precision hint; int8 is
ONNX Runtime's quantize_dynamic (weights by channel) and OpenVINO with nncf.quantize, calibrated on the very inputs
that are measured. What an engine lacks (onnxruntime bf16, torch int8) ends it with status 3.
"""
import json
import pathlib
import sys
import time

import numpy as np


def open_clip_towers(folder):
    import open_clip

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    # The reference pads texts to 77 tokens; here it computes as few as we do.
    return model, {"images": model.encode_image, "tokens": lambda ids: open_clip_texts(model, ids)}


def open_clip_texts(model, ids):
    x = model.token_embedding(ids) + model.positional_embedding[:ids.shape[1]]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:ids.shape[1], :ids.shape[1]]))
    return x[:, -1] @ model.text_projection  # make_input ends every text with the end token


def transformers_towers(folder, config):
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    kind = {"clip": transformers.CLIPModel, "dinov2": transformers.Dinov2Model,
            "dinov2_with_registers": transformers.Dinov2WithRegistersModel}[config["model_type"]]
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    if config["model_type"] == "clip":
        return model, {"images": model.get_image_features, "tokens": model.get_text_features}
    return model, {"images": lambda pixels: model(pixels).last_hidden_state[:, 0]}


def sentence_towers(folder):
    """sentence-transformers' modules without its tokenising; padding is token 0, as BERT's is."""
    import sentence_transformers
    import torch

    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu").eval()

    def embed(ids):
        out = model({"input_ids": ids, "attention_mask": (ids != 0).long()})
        return out["sentence_embedding"]

    return model, {"tokens": embed}


def load_torch(folder):
    import torch

    name = "open_clip_config.json" if (folder / "open_clip_config.json").exists() else "config.json"
    config = json.loads((folder / name).read_text())
    if (folder / "modules.json").exists():
        model, towers = sentence_towers(folder)
    else:
        model, towers = open_clip_towers(folder) if "model_cfg" in config else transformers_towers(folder, config)

    class Tower(torch.nn.Module):
        def __init__(self, call):
            super().__init__()
            self.model, self.call = model, call

        def forward(self, x):
            out = self.call(x)
            return out if isinstance(out, torch.Tensor) else out.pooler_output

    return {task: Tower(call).eval() for task, call in towers.items()}


class Torch:
    def __init__(self, folder, threads, exports, precision):
        import torch

        if precision == "int8":
            sys.exit(3)
        self.torch, self.bf16 = torch, precision == "bf16"
        torch.set_num_threads(threads)
        self.towers = load_torch(folder)
        self.name = f"torch {torch.__version__}"

    def prepare(self, task, x):
        x = self.torch.from_numpy(x)

        def run():
            with self.torch.inference_mode(), self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.bf16):
                return self.towers[task](x).float().numpy()

        return run


def exported(folder, exports, task, example):
    """The tower as an ONNX file with a free batch size, for texts of the example's length: not every tower leaves
    that free."""
    path = exports / f"{folder.name}.{task}{example.shape[1] if task == 'tokens' else ''}.onnx"
    newest = max(f.stat().st_mtime for f in folder.iterdir())
    if not path.exists() or path.stat().st_mtime < newest:
        import torch

        exports.mkdir(parents=True, exist_ok=True)
        example = torch.from_numpy(np.concatenate([example, example])[:2])
        temporary = path.with_suffix(".tmp")
        torch.onnx.export(load_torch(folder)[task], (example,), temporary, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, opset_version=17, dynamo=False)
        temporary.rename(path)
    return path


def quantised(path):
    """The exported tower with 8-bit weights, activations quantised as they come."""
    from onnxruntime.quantization import quantize_dynamic

    out = path.with_suffix(".int8.onnx")
    if not out.exists() or out.stat().st_mtime < path.stat().st_mtime:
        temporary = path.with_suffix(".tmp")
        quantize_dynamic(path, temporary, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"])
        temporary.rename(out)
    return out


class OnnxRuntime:
    def __init__(self, folder, threads, exports, precision):
        import onnxruntime

        if precision == "bf16":
            sys.exit(3)
        self.int8 = precision == "int8"
        self.ort, self.folder, self.exports, self.sessions = onnxruntime, folder, exports, {}
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.name = f"onnxruntime {onnxruntime.__version__}"

    def prepare(self, task, x):
        key = (task, x.shape[1])
        if key not in self.sessions:
            path = exported(self.folder, self.exports, task, x)
            path = quantised(path) if self.int8 else path
            self.sessions[key] = self.ort.InferenceSession(path, self.options, providers=["CPUExecutionProvider"])
        session = self.sessions[key]
        return lambda: session.run(None, {"x": x})[0]


class OpenVino:
    def __init__(self, folder, threads, exports, precision):
        import openvino

        self.ov, self.folder, self.exports, self.compiled = openvino, folder, exports, {}
        self.core = openvino.Core()
        self.int8 = precision == "int8"
        # Without the last hint it would compute in bf16 where the CPU can; what int8 leaves is then f32, as ours.
        self.config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                       "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
        self.name = f"openvino {openvino.__version__.split('-')[0]}"

    def prepare(self, task, x):
        """Compiled for the very shape, which is its fastest."""
        key = (task, x.shape)
        if key not in self.compiled:
            model = self.ov.convert_model(exported(self.folder, self.exports, task, x))
            model.reshape({"x": x.shape})
            if self.int8:
                import nncf

                model = nncf.quantize(model, nncf.Dataset([x]), model_type=nncf.ModelType.TRANSFORMER)
            self.compiled[key] = self.core.compile_model(model, "CPU", self.config).create_infer_request()
        request = self.compiled[key]
        return lambda: request.infer({"x": x}, share_inputs=True)[0]


def read(folder, task, path, n, length):
    if task == "tokens":
        return np.fromfile(path, np.int32, n * length).reshape(n, length).astype(np.int64)
    if (folder / "preprocessor_config.json").exists():
        processor = json.loads((folder / "preprocessor_config.json").read_text())
        mean, deviation = processor["image_mean"], processor["image_std"]
    else:
        processor = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
        mean, deviation = processor["mean"], processor["std"]
    crops = np.fromfile(path, np.uint8)
    side = round((crops.size / n / 3) ** 0.5)
    pixels = crops.reshape(n, side, side, 3).astype(np.float32) / 255
    pixels = (pixels - np.float32(mean)) / np.float32(deviation)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def main():
    engine, folder, threads, exports, precision = sys.argv[1:]
    folder, answers, sys.stdout = pathlib.Path(folder), sys.stdout, sys.stderr  # libraries print
    start = time.perf_counter()
    peer = {"torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}[engine](
        folder, int(threads), pathlib.Path(exports), precision)
    seconds = time.perf_counter() - start
    print(json.dumps({"open_seconds": round(seconds, 3), "engine": peer.name}), file=answers, flush=True)
    for line in sys.stdin:
        task, path, n, *rest = line.split()  # rest: for tokens the length, then how often
        run = peer.prepare(task, read(folder, task, path, int(n), int(rest[0])))
        start = time.perf_counter()
        for _ in range(int(rest[-1])):
            vectors = run()
        seconds = time.perf_counter() - start
        np.asarray(vectors, np.float32).tofile(f"{path}.{engine}")
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
