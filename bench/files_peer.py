"""Another tool behind bench-files' protocol (see files.c): sentence-transformers, rclip or faster-clip.

    files_peer.py TOOL MODEL_DIR THREADS EXPORT_DIR

Each loads the same CLIP ViT-B/32 of transformers' layout and goes from paths to vectors as the tool itself does:
sentence-transformers by SentenceTransformer.encode on pictures that Pillow opened, rclip by its own loader threads,
preprocessing, hashing and database around ONNX Runtime, faster-clip by ClipModel.encode_image on the files' bytes.
rclip's own model takes 256 pixels; here it takes 224, and the ONNX file is exported from MODEL_DIR (bench/encode.py).
"""
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np


def link_all(folder, into):
    into.mkdir(parents=True)
    for file in folder.iterdir():
        (into / file.name).symlink_to(file.resolve())


class SentenceTransformers:
    def __init__(self, folder, threads, exports, scratch):
        import sentence_transformers
        import torch

        torch.set_num_threads(threads)
        link_all(folder, scratch / "st/0_CLIPModel")
        module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
        (scratch / "st/modules.json").write_text(json.dumps([module]))
        self.model = sentence_transformers.SentenceTransformer(str(scratch / "st"), device="cpu")
        self.name = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"

    def embed(self, paths):
        from PIL import Image

        return self.model.encode([Image.open(p) for p in paths], normalize_embeddings=True)


class Rclip:
    BATCH = 8  # rclip's default

    def __init__(self, folder, threads, exports, scratch):
        import onnx
        from rclip import db, main, model, model_download
        from rclip.utils import preprocess

        preprocess.IMAGE_SIZE = 224
        exported = onnx.load(exports / f"{folder.name}.images.onnx")
        for node in exported.graph.node:
            node.input[:] = ["input" if n == "x" else n for n in node.input]
            node.output[:] = ["output" if n == "y" else n for n in node.output]
        exported.graph.input[0].name, exported.graph.output[0].name = "input", "output"
        onnx.save(exported, scratch / "visual.onnx")
        self.model, self.db, self.main, self.scratch, self.count = model.Model(), db, main, scratch, 0
        self.model._session_visual_var = model_download._load_onnx_session(str(scratch / "visual.onnx"))
        self.name = "rclip, ONNX Runtime"

    def embed(self, paths):
        self.count += 1
        database = self.db.DB(self.scratch / f"{self.count}.db")
        rclip = self.main.RClip(self.model, database, self.BATCH, None)
        metas = [(p, {"modified_at": 0.0, "size": os.path.getsize(p)}) for p in paths]
        rclip._index_images(iter(metas))
        rows = {r["filepath"]: r["vector"] for r in database._con.execute("SELECT filepath, vector FROM images")}
        rclip.close()
        return np.stack([np.frombuffer(rows[p], np.float32) for p in paths])


class FasterClip:
    def __init__(self, folder, threads, exports, scratch):
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        os.environ["FASTER_CLIP_CACHE"] = str(scratch)
        link_all(folder, scratch / "sentence-transformers__clip-ViT-B-32/0_CLIPModel")
        import faster_clip

        self.model, self.name = faster_clip.ClipModel(), f"faster-clip {faster_clip.__version__}"

    def embed(self, paths):
        rows = np.asarray(self.model.encode_image([pathlib.Path(p).read_bytes() for p in paths]), np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


TOOLS = {"sentence-transformers": SentenceTransformers, "rclip": Rclip, "faster-clip": FasterClip}


def main():
    tool, folder, threads, exports = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print
    with tempfile.TemporaryDirectory() as scratch:
        peer = TOOLS[tool](pathlib.Path(folder), int(threads), pathlib.Path(exports), pathlib.Path(scratch))
        print(json.dumps({"engine": peer.name}), file=answers, flush=True)
        for line in sys.stdin:
            listing, out = line.split()
            paths = pathlib.Path(listing).read_text().split("\n")[:-1]
            start = time.perf_counter()
            rows = peer.embed(paths)
            seconds = time.perf_counter() - start
            np.ascontiguousarray(rows, np.float32).tofile(out)
            print(json.dumps({"seconds": seconds, "files": len(paths)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
