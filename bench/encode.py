#!/usr/bin/env python3
"""Images and texts a second of ours, PyTorch, ONNX Runtime and OpenVINO: one run, the same inputs and threads.

    python3 -m venv peers
    peers/bin/pip install torch transformers open_clip_torch sentence-transformers onnx onnxruntime openvino nncf numpy
    cmake --preset release && cmake --build build
    peers/bin/python bench/encode.py --threads 2

The engines are processes that take turns, so that a slow minute of the machine hits all alike; each round
measures every engine once, in turn, and the table shows the least, the median and the greatest rate. "of peak"
is the model's multiply-adds a second over what bench-peak reaches on registers alone, in the same precision. Vectors
are compared with our fp32 ones as well: all engines must compute the same thing. Nothing else should run meanwhile.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
LACKS_PRECISION = 3
ENGINES = ("kindred", "torch", "onnxruntime", "openvino")


class Engine:
    """One engine's process with one model open."""

    def __init__(self, name, folder, options):
        self.name = name
        if name == "kindred":
            command = [options.build / "bench/bench-encode", folder, str(options.threads), "auto", options.precision]
        else:
            command = [sys.executable, ROOT / "bench/encode_peer.py", name, folder, str(options.threads),
                       options.exports, options.precision]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            if status == LACKS_PRECISION:
                return None
            raise SystemExit(f"{self.name} ended with status {status}")
        return json.loads(line)

    def seconds(self, task, path, shape, repeat):
        if task == "mixed" and self.name != "kindred":
            task = "tokens"  # to them they are of one length
        print(task, path, *shape, repeat, file=self.process.stdin, flush=True)
        return self.answer()["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def transformer(tokens, layers, width, inner):
    return layers * tokens * (4 * width * width + 2 * width * inner + 2 * tokens * width)


def resnet(layers, width, side, dim):
    """CLIP's, as the model defines it, the attention pool's keys and values of all tokens included."""
    half = (side // 2) ** 2
    total = half * (27 * width // 2 + 9 * (width // 2) ** 2 + 9 * width // 2 * width)
    pixels, channels = (side // 4) ** 2, width
    for stage, blocks in enumerate(layers):
        planes = width << stage
        for block in range(blocks):
            total += pixels * (channels * planes + 9 * planes * planes)
            if block == 0:
                pixels //= 4 if stage else 1
                total += pixels * channels * 4 * planes
            total += pixels * planes * 4 * planes
            channels = 4 * planes
    return total + channels * ((2 * (pixels + 1) + 1) * channels + 2 * (pixels + 1) + dim)


def open_clip_multiply_adds(model, task, length):
    if task == "tokens":
        c = model["text_cfg"]
        return transformer(length, c["layers"], c["width"], 4 * c["width"]) + c["width"] * model["embed_dim"]
    c = model["vision_cfg"]
    if isinstance(c["layers"], list):
        return resnet(c["layers"], c["width"], c["image_size"], model["embed_dim"])
    patches, width = (c["image_size"] // c["patch_size"]) ** 2, c["width"]
    return (transformer(patches + 1, c["layers"], width, int(width * c.get("mlp_ratio", 4))) +
            patches * width * 3 * c["patch_size"] ** 2 + width * model["embed_dim"])


def multiply_adds(config, task, side, length):
    """Of one input through a tower, as the model defines it; of mixed texts (task "mixed") on average."""
    if task == "mixed":
        return statistics.mean(multiply_adds(config, "tokens", side, n) for n in length)
    if "model_cfg" in config:
        return open_clip_multiply_adds(config["model_cfg"], task, length)
    if task == "tokens" and "text_config" not in config:  # a sentence encoder
        width = config.get("dim") or config["hidden_size"]
        return transformer(length, config.get("n_layers") or config["num_hidden_layers"], width,
                           config.get("hidden_dim") or config["intermediate_size"])
    if config["model_type"] == "clip":
        c = config["vision_config" if task == "images" else "text_config"]
        inner, projection = c["intermediate_size"], c["hidden_size"] * config["projection_dim"]
    else:
        c, inner, projection = config, config["hidden_size"] * config["mlp_ratio"], 0
    d, total = c["hidden_size"], projection
    if task == "images":
        patch = c["patch_size"]
        length = (side // patch) ** 2 + 1 + config.get("num_register_tokens", 0)
        total += (side // patch) ** 2 * d * 3 * patch * patch
    return total + transformer(length, c["num_hidden_layers"], d, inner)


def read_config(folder):
    name = "open_clip_config.json" if (folder / "open_clip_config.json").exists() else "config.json"
    return json.loads((folder / name).read_text())


def crop_side(folder, config):
    if "model_cfg" in config:
        return config["model_cfg"]["vision_cfg"]["image_size"]
    if not (folder / "preprocessor_config.json").exists():
        return None
    size = json.loads((folder / "preprocessor_config.json").read_text())["crop_size"]
    return size if isinstance(size, int) else size["height"]


def make_input(folder, task, side, shape, vocabulary):
    rng = np.random.default_rng(1)
    path = folder / f"{task}-{'x'.join(map(str, shape))}"
    if task == "images":
        rng.integers(0, 256, (shape[0], side, side, 3), np.uint8).tofile(path)
    else:
        ids = rng.integers(300, vocabulary - 300, shape, np.int32)
        ids[:, 0], ids[:, -1] = vocabulary - 2, vocabulary - 1  # of CLIP's, the start and the end token
        ids.tofile(path)
    return path


def make_mixed(scratch, folder, cache, batch):
    """Sayings of real lengths as the model's own tokenizer gives them, padded to the longest; behind the ids their
    lengths. Returns the file's path and the lengths."""
    import transformers

    lines = [line for f in sorted((cache / "fortunes").glob("*/*.jsonl")) for line in f.read_text().splitlines()]
    texts = [json.loads(line)["text"] for line in lines[::len(lines) // batch][:batch]]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, max_length=77,
                                                                 return_tensors="np")
    lengths = tokens["attention_mask"].sum(1)
    path = scratch / f"mixed-{batch}"
    np.concatenate([tokens["input_ids"].ravel(), lengths]).astype(np.int32).tofile(path)
    return path, lengths.tolist()


def difference(path, engine):
    ours, theirs = (np.fromfile(f"{path}.{e}", np.float32).astype(float) for e in ("kindred", engine))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def exact(folder, options, path, task, shape):
    """Our fp32 vectors of the input."""
    command = [options.build / "bench/bench-encode", folder, str(options.threads)]
    line = " ".join(map(str, [task, path, *shape, 1])) + "\n"
    subprocess.run(command, input=line, text=True, check=True, stdout=subprocess.DEVNULL)
    return np.fromfile(f"{path}.kindred", np.float32).astype(float).reshape(shape[0], -1)


def least_cosine(path, engine, reference):
    vectors = np.fromfile(f"{path}.{engine}", np.float32).astype(float).reshape(reference.shape)
    products = (vectors * reference).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)
    return float(products.min())


def measure(engines, task, path, shape, options):
    """engine -> rates, one a round."""
    repeat = {}
    for e in engines:
        e.seconds(task, path, shape, 1)  # builds what it builds for this shape
        repeat[e] = max(1, round(options.seconds / e.seconds(task, path, shape, 1)))
    rates = {e.name: [] for e in engines}
    for _ in range(options.rounds):
        for e in engines:
            time.sleep(0.2)  # threads of the one before stop spinning
            rates[e.name].append(shape[0] * repeat[e] / e.seconds(task, path, shape, repeat[e]))
    return rates


def peak(options):
    out = subprocess.run([options.build / "bench/bench-peak", str(options.threads)], capture_output=True, text=True,
                         check=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return max(r["gmac_per_second"] for r in rows if r.get("precision") == options.precision)


def bench_model(name, options, report):
    folder = options.cache / name if (options.cache / name).exists() else options.cache.parent / name
    config = read_config(folder)
    side = crop_side(folder, config)
    engines = [e for e in (Engine(name, folder, options) for name in options.engines) if e.about]
    for e in engines:
        report["engines"][e.name] = e.about
    sentences = (folder / "modules.json").exists()
    jobs = [] if sentences else [("images", (batch,)) for batch in options.batches]
    if sentences or "model_cfg" in config or config["model_type"] == "clip":
        jobs += [("tokens", (batch, length)) for length in (16, 77) for batch in options.batches]
        if "model_cfg" not in config:  # open_clip's tokenizers aren't transformers'
            jobs += [("mixed", (batch,)) for batch in options.mixed]
    jobs = [job for job in jobs if not options.tasks or job[0] in options.tasks]
    with tempfile.TemporaryDirectory() as scratch:
        for task, shape in jobs:
            lengths = shape[-1]
            if task == "mixed":
                path, lengths = make_mixed(pathlib.Path(scratch), folder, options.cache.parent, shape[0])
                shape = (shape[0], max(lengths))
            else:
                path = make_input(pathlib.Path(scratch), task, side, shape, config.get("vocab_size", 49408))
            top, reference = peak(options), exact(folder, options, path, task, shape)
            rates = measure(engines, task, path, shape, options)
            macs = multiply_adds(config, task, side, lengths)
            what = f"batch {shape[0]}" + (f", {shape[1]} tokens" if task == "tokens" else
                                          f", {min(lengths)} to {shape[1]} tokens" if task == "mixed" else "")
            print(f"\n{name}, {task}, {what}: {macs / 1e9:.2f} G multiply-adds each, "
                  f"{options.precision} peak {top:.1f} G/s", flush=True)
            for e in rates:
                low, median, high = min(rates[e]), statistics.median(rates[e]), max(rates[e])
                row = {"model": name, "task": task, "shape": shape, "engine": e, "min": low, "median": median,
                       "max": high, "of_peak": median * macs / 1e9 / top, "peak_gmac_per_second": top}
                row["least_cosine"] = least_cosine(path, e, reference)
                if options.precision == "fp32" and e != "kindred" and "kindred" in options.engines:
                    row["difference"] = difference(path, e)
                report["rows"].append(row)
                print(f"  {e:12} {low:8.2f} {median:8.2f} {high:8.2f} /s   {row['of_peak']:5.1%} of peak   "
                      f"cosine to fp32 at least {row['least_cosine']:.5f}" +
                      (f"   vectors differ by {row['difference']:.1e}" if "difference" in row else ""), flush=True)
    for e in engines:
        e.close()


def numbers(text):
    return [int(n) for n in text.split(",")]


def main():
    cache = pathlib.Path.home() / ".cache/kindred"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="seeded models, or materials (minilm); default: clip-vit-b-32 dinov2-small")
    parser.add_argument("--batches", type=numbers, default=[1, 16], help="default: 1,16")
    parser.add_argument("--mixed", type=numbers, default=[], metavar="BATCH,...",
                        help="batches of sayings of different lengths, which the peers pad to the longest; default: none")
    parser.add_argument("--tasks", type=lambda s: s.split(","), help="of images, tokens, mixed; default: all")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="fp32",
                        help="of ours and the peers, each in its own way (see encode_peer.py); default: fp32")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement, about; default: 2")
    parser.add_argument("--engines", type=lambda s: s.split(","), default=list(ENGINES), help="default: all")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="default: build")
    parser.add_argument("--cache", type=pathlib.Path, default=cache / "seeded", help="seeded models' folder")
    parser.add_argument("--exports", type=pathlib.Path, default=cache / "onnx", help="where ONNX files are kept")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here too")
    options = parser.parse_args()
    models = options.models or ["clip-vit-b-32", "dinov2-small"]
    tables = [m for m in models if (ROOT / f"tests/data/seeded/{m}.json").exists()]
    subprocess.run([options.build / "tests/make_seeded", *tables], check=True, stdout=subprocess.DEVNULL,
                   env={"KINDRED_SOURCE": str(ROOT), "KINDRED_CACHE": str(options.cache.parent)})
    report = {"threads": options.threads, "precision": options.precision, "engines": {}, "rows": []}
    for name in models:
        bench_model(name, options, report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
