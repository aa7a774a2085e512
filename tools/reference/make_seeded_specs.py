"""Write the tables of seeded weights, tests/data/seeded/*.json, from the reference models' own parameter lists.

Needs transformers and open_clip. A table holds the directory's JSON files and, for each tensor, its shape and the
mean and standard deviation of its values. The deviations are chosen so that different photos (and texts) give
clearly different vectors, which the usual initialisation does not: see RULES.
"""
import json
import math
import pathlib
import re
import tempfile

import open_clip
import safetensors
import transformers

OUT = pathlib.Path(__file__).parents[2] / "tests/data/seeded"
NORMALISE = {"clip": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
             "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])}

# (pattern of the name, mean, gain). The deviation is gain / sqrt(inputs) for matrices, gain itself for
# vectors and embeddings. Query and key gains make attention choose between patches; small biases and
# position embeddings keep what all pictures share from drowning what differs.
LINEAR, PLAIN = True, False
RULES = {
    "clip": [
        (r"logit_scale", 4.6, 0.0, PLAIN),
        (r"vision_model.*layer_?norm\d?\.weight|pre_layrnorm\.weight", 1.0, 0.2, PLAIN),
        (r"norm\d?\.bias|layrnorm\.bias|layer_norm\.bias", 0.0, 0.1, PLAIN),
        (r"norm\d?\.weight", 1.0, 0.2, PLAIN),
        (r"class_embedding", 0.0, 0.3, PLAIN),
        (r"position_embedding\.weight", 0.0, 0.3, PLAIN),
        (r"token_embedding\.weight", 0.0, 1.0, PLAIN),
        (r"patch_embedding\.weight", 0.0, 1.0, LINEAR),
        (r"[qk]_proj\.weight", 0.0, 1.7, LINEAR),
        (r"v_proj\.weight", 0.0, 1.0, LINEAR),
        (r"out_proj\.weight|fc2\.weight", 0.0, 1.0, LINEAR),
        (r"fc1\.weight", 0.0, 1.2, LINEAR),
        (r"projection\.weight", 0.0, 1.0, LINEAR),
        (r"bias", 0.0, 0.05, PLAIN),
    ],
    "dinov2": [
        (r"lambda1", 0.7, 0.2, PLAIN),
        (r"norm\d?\.weight|layernorm\.weight", 1.0, 0.2, PLAIN),
        (r"norm\d?\.bias|layernorm\.bias", 0.0, 0.1, PLAIN),
        (r"cls_token|mask_token|register_tokens", 0.0, 0.3, PLAIN),
        (r"position_embeddings", 0.0, 0.3, PLAIN),
        (r"patch_embeddings\.projection\.weight", 0.0, 1.0, LINEAR),
        (r"(query|key)\.weight", 0.0, 1.9, LINEAR),
        (r"value\.weight|dense\.weight|fc2\.weight|weights_out\.weight", 0.0, 1.0, LINEAR),
        (r"fc1\.weight|weights_in\.weight", 0.0, 1.2, LINEAR),
        (r"bias", 0.0, 0.05, PLAIN),
    ],
    "open_clip": [
        (r"logit_scale", 4.6, 0.0, PLAIN),
        (r"conv1\.weight", 0.0, 1.0, LINEAR),
        (r"ln_\w+\.bias", 0.0, 0.1, PLAIN),
        (r"ln_\w+\.weight", 1.0, 0.2, PLAIN),
        (r"class_embedding|positional_embedding", 0.0, 0.3, PLAIN),
        (r"token_embedding\.weight", 0.0, 1.0, PLAIN),
        (r"in_proj_weight", 0.0, 1.5, LINEAR),
        (r"c_fc\.weight", 0.0, 1.2, LINEAR),
        (r"(v|c|out)_proj\.weight", 0.0, 1.0, LINEAR),
        (r"(visual\.proj|text_projection)$", 0.0, 1.0, LINEAR),
        (r"bias", 0.0, 0.05, PLAIN),
    ],
    "bert": [
        (r"(LayerNorm|layer_norm)\.weight", 1.0, 0.2, PLAIN),
        (r"(LayerNorm|layer_norm)\.bias", 0.0, 0.1, PLAIN),
        (r"word_embeddings\.weight", 0.0, 1.0, PLAIN),
        (r"(position|token_type)_embeddings\.weight", 0.0, 0.3, PLAIN),
        (r"([qk]_lin|query|key)\.weight", 0.0, 1.7, LINEAR),
        (r"weight", 0.0, 1.0, LINEAR),
        (r"bias", 0.0, 0.05, PLAIN),
    ],
}


def resnet_rules(first, inner, skip, scale, shift, last_shift, attention):
    """Gains of the convolutions (the stem's first, a block's, the downsample's), of a block's last batch norm, shifts
    of the norms and of a block's last, and the gain of the pool's queries and keys. All of a norm's numbers matter.
    With few units past each ReLU pictures differ, for else everything would lie in one quadrant; the gains keep the
    signal from dying out or growing beyond the shifts, which depends on the depth."""
    return [
        (r"running_mean", 0.0, 0.3, PLAIN),
        (r"running_var", 1.0, 0.25, PLAIN),
        (r"visual\..*bn3\.weight", scale, 0.2, PLAIN),
        (r"visual\..*(bn\d|downsample\.1)\.weight", 1.0, 0.2, PLAIN),
        (r"visual\..*bn3\.bias", last_shift, 0.3, PLAIN),
        (r"visual\..*bn\d\.bias", shift, 0.3, PLAIN),
        (r"visual\..*downsample\.1\.bias", 0.0, 0.1, PLAIN),
        (r"visual\.conv1\.weight", 0.0, first, LINEAR),
        (r"visual\..*conv\d\.weight", 0.0, inner, LINEAR),
        (r"visual\..*downsample\.0\.weight", 0.0, skip, LINEAR),
        (r"visual\..*[qk]_proj\.weight", 0.0, attention, LINEAR),
    ]


def row(rules, name, shape):
    for pattern, mean, gain, linear in rules:
        if re.search(pattern, name):
            std = gain / math.sqrt(math.prod(shape[1:])) if linear else gain
            return {"name": name, "shape": shape, "mean": mean, "std": float(f"{std:.6g}")}
    raise SystemExit(f"no rule for {name}")


def fold(rows):
    """Rows that differ only in one number of the name (the layer) become one row with a range."""
    groups, out = {}, []
    for r in rows:
        match = re.fullmatch(r"(.*(?:layers|layer\d?|resblocks)\.)(\d+)(\..*)", r["name"])
        if match:
            key = json.dumps({**r, "name": match[1] + "{}" + match[3]})
            groups.setdefault(key, []).append(int(match[2]))
        else:
            out.append(r)
    for key, numbers in ((k, sorted(v)) for k, v in groups.items()):
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), key
        out.append({**json.loads(key), "repeat": [numbers[0], numbers[-1] + 1]})
    return out


def file_shapes(model):
    """name -> shape as save_pretrained writes them; names inside the library may differ."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safetensors.safe_open(f"{folder}/model.safetensors", "pt") as f:
            return {name: f.get_slice(name).get_shape() for name in f.keys()}


def write(name, rules, shapes, files, extra=(), weights="model.safetensors", **others):
    rows = [row(rules, n, shape) for n, shape in shapes.items()]
    spec = {"seed": f"kindred/{name}", "weights": weights, "files": files, **others}
    head = json.dumps(spec)[:-1]
    lines = ",\n  ".join(json.dumps(r) for r in fold(rows) + list(extra))
    (OUT / f"{name}.json").write_text(f'{head}, "tensors": [\n  {lines}\n]}}\n')
    print(name, sum(math.prod(shape) for shape in shapes.values()))


def preprocessor(kind, resize, crop, family):
    mean, deviation = NORMALISE[family]
    return {"image_processor_type": kind, "do_convert_rgb": True, "do_resize": True, "size": {"shortest_edge": resize},
            "resample": 3, "do_center_crop": True, "crop_size": {"height": crop, "width": crop}, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": mean, "image_std": deviation}


def clip(name, config, processor):
    """transformers' CLIPModel; real files also hold the position ids as I64 tensors."""
    model = transformers.CLIPModel(transformers.CLIPConfig(**config))
    vision = model.config.vision_config
    positions = [("text_model", model.config.text_config.max_position_embeddings),
                 ("vision_model", (vision.image_size // vision.patch_size) ** 2 + 1)]
    extra = [{"name": f"{tower}.embeddings.position_ids", "shape": [1, n], "dtype": "I64"} for tower, n in positions]
    write(name, RULES["clip"], file_shapes(model), {"config.json": config, "preprocessor_config.json": processor}, extra)


def dinov2(name, config, resize=256, crop=224):
    registers = config["model_type"] == "dinov2_with_registers"
    model = (transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**config)) if registers
             else transformers.Dinov2Model(transformers.Dinov2Config(**config)))
    files = {"config.json": config,
             "preprocessor_config.json": preprocessor("BitImageProcessor", resize, crop, "imagenet")}
    write(name, RULES["dinov2"], file_shapes(model), files)


def dinov2_config(width, layers, heads, image_size=518, registers=None, **others):
    """As the original directories spell it."""
    kind = "Dinov2Model" if registers is None else "Dinov2WithRegistersModel"
    return {"architectures": [kind], "model_type": "dinov2" if registers is None else "dinov2_with_registers",
            "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "mlp_ratio": 4,
            "hidden_act": "gelu", "layer_norm_eps": 1e-06, "image_size": image_size, "patch_size": 14,
            "num_channels": 3, "qkv_bias": True, "layerscale_value": 1.0, "use_swiglu_ffn": False,
            **({} if registers is None else {"num_register_tokens": registers}), **others}


def clip_of_open_clip(name, config, rules=(), preprocess={"interpolation": "bicubic", "resize_mode": "shortest"}):
    """open_clip's CLIP; the files have OpenAI's names. The count of batches is an I64 in real files too."""
    model = open_clip.model.CLIP(**config)
    shapes = {n: list(t.shape) for n, t in model.state_dict().items()}
    counts = [n for n in shapes if n.endswith("num_batches_tracked")]
    mean, deviation = NORMALISE["clip"]
    files = {"open_clip_config.json": {"model_cfg": config, "preprocess_cfg": {
        "mean": mean, "std": deviation, **preprocess}}}
    write(name, [*rules, *RULES["open_clip"]], {n: shape for n, shape in shapes.items() if n not in counts}, files,
          fold([{"name": n, "shape": [], "dtype": "I64"} for n in counts]), "open_clip_model.safetensors")


def sentence(name, kind, config, tokenizer, pooling, context, dense=None, normalise=False):
    """sentence-transformers' layout of an encoder. Its tokenizer is a folder that is committed beside the tests, or a
    material. `dense` is the size of a projection, which has a table of its own: NAME-dense."""
    modules = ["models.Transformer", "models.Pooling"] + ["models.Dense"] * bool(dense) + ["models.Normalize"] * normalise
    files = {"config.json": config, "sentence_bert_config.json": {"max_seq_length": context, "do_lower_case": False},
             "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512,
                                       "pad_token": "[PAD]" if kind.startswith("Distil") else "<pad>"},
             "modules.json": [{"idx": i, "name": str(i), "path": f"{i}_{m.split('.')[1]}" if i else "",
                               "type": f"sentence_transformers.{m}"} for i, m in enumerate(modules)],
             "1_Pooling/config.json": {"word_embedding_dimension": config.get("dim") or config["hidden_size"],
                                       "pooling_mode_cls_token": pooling == "cls",
                                       "pooling_mode_mean_tokens": pooling == "mean",
                                       "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}}
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**config))
    others = {"tokenizer" if "/" in tokenizer else "material": tokenizer}
    if dense:
        width = files["1_Pooling/config.json"]["word_embedding_dimension"]
        others["parts"] = {"2_Dense": f"{name}-dense"}
        write(f"{name}-dense", RULES["bert"], {"linear.weight": [dense, width]}, {"config.json": {
            "in_features": width, "out_features": dense, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity"}})
    write(name, RULES["bert"], file_shapes(model), files, **others)


def main():
    # clip-ViT-B-32-multilingual-v1 but for its vocabulary, which no package ships: MiniLM's stands in.
    sentence("multilingual-clip", "DistilBert",
             {"architectures": ["DistilBertModel"], "model_type": "distilbert", "activation": "gelu", "dim": 768,
              "hidden_dim": 3072, "n_heads": 12, "n_layers": 6, "max_position_embeddings": 512, "pad_token_id": 0,
              "sinusoidal_pos_embds": False, "tie_weights_": True, "vocab_size": 30522},
             "minilm", "mean", 128, dense=512)
    sentence("roberta-tiny", "XLMRoberta",
             {"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "hidden_act": "gelu",
              "hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 3, "num_attention_heads": 4,
              "layer_norm_eps": 1e-05, "max_position_embeddings": 132, "pad_token_id": 1, "bos_token_id": 0,
              "eos_token_id": 2, "type_vocab_size": 1, "vocab_size": 2500},
             "tests/parity/text/roberta", "cls", 100, normalise=True)
    # As the original directory spells it, wrong end token and old-style sizes included.
    mean, deviation = NORMALISE["clip"]
    clip("clip-vit-b-32",
         {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 512, "logit_scale_init_value": 2.6592,
          "text_config": {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "hidden_act": "quick_gelu",
                          "hidden_size": 512, "intermediate_size": 2048, "layer_norm_eps": 1e-05,
                          "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 8,
                          "num_hidden_layers": 12, "projection_dim": 512, "vocab_size": 49408},
          "vision_config": {"hidden_act": "quick_gelu", "hidden_size": 768, "image_size": 224,
                            "intermediate_size": 3072, "layer_norm_eps": 1e-05, "model_type": "clip_vision_model",
                            "num_attention_heads": 12, "num_hidden_layers": 12, "patch_size": 32,
                            "projection_dim": 512}},
         {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True,
          "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": mean, "image_std": deviation, "resample": 3,
          "size": 224})
    # Small, quick, and different in every number: GELU, the right end token, heads of 24 and 40.
    clip("clip-tiny",
         {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 48,
          "text_config": {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407, "hidden_act": "gelu",
                          "hidden_size": 120, "intermediate_size": 200, "layer_norm_eps": 1e-06,
                          "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 3,
                          "num_hidden_layers": 2, "vocab_size": 49408},
          "vision_config": {"hidden_act": "gelu", "hidden_size": 72, "image_size": 80, "intermediate_size": 136,
                            "layer_norm_eps": 1e-06, "model_type": "clip_vision_model", "num_attention_heads": 3,
                            "num_hidden_layers": 3, "patch_size": 16}},
         preprocessor("CLIPImageProcessor", 80, 80, "clip"))
    dinov2("dinov2-small", dinov2_config(384, 12, 6))
    dinov2("dinov2-base", dinov2_config(768, 12, 12))
    dinov2("dinov2-tiny", dinov2_config(96, 3, 2, 70, mlp_ratio=3), 98, 98)
    # Positions for a smaller grid than the file's, and for a larger one.
    dinov2("dinov2-swiglu-tiny", dinov2_config(104, 3, 2, 182, use_swiglu_ffn=True), 98, 98)
    dinov2("dinov2-registers-tiny", dinov2_config(96, 3, 3, 182, registers=4), 98, 98)
    dinov2("dinov2-registers-swiglu-tiny", dinov2_config(96, 2, 2, 70, registers=3, use_swiglu_ffn=True), 98, 98)
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    clip_of_open_clip("clip-rn50", {"embed_dim": 1024, "quick_gelu": True, "text_cfg": text, "vision_cfg": {
        "image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}},
        resnet_rules(2.8, 1.77, 1.5, 0.3, -0.62, -0.22, 0.6))
    small = {"context_length": 77, "vocab_size": 49408, "width": 96, "heads": 2, "layers": 2}
    # Widths that fill no panel, as RN50x4 has them, and a tower of more blocks at another size.
    clip_of_open_clip("clip-rn-tiny", {"embed_dim": 56, "quick_gelu": True, "text_cfg": small, "vision_cfg": {
        "image_size": 96, "layers": [1, 2, 2, 1], "width": 20, "patch_size": None}},
        resnet_rules(1.4, 2.0, 2.0, 0.6, -0.8, -0.4, 1.7))
    clip_of_open_clip("clip-open-tiny", {"embed_dim": 48, "text_cfg": {**small, "heads": 3, "layers": 3}, "vision_cfg": {
        "image_size": 84, "layers": 3, "width": 96, "head_width": 32, "mlp_ratio": 3.5, "patch_size": 14}}, preprocess={})


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    main()
