"""Embed the test photos and texts with the reference implementations on seeded weights: tests/data/refs/.

    python3 make_model_refs.py --tokenizer DIR [MODEL...]

Needs torch, transformers, open_clip, sentence-transformers, Pillow and pillow-heif; DIR is the material clip-vocab,
beside which lie others that tables name. For each table in tests/data/seeded this writes MODEL.json (the inputs,
token ids, the SHA-256 of the weight file) and the vectors as raw little-endian float32, one row an input:
MODEL.images.f32, MODEL.texts.f32, and of small DINOv2 models MODEL.mean.f32, the mean of the patch tokens, and
MODEL.patches.f32, all of these, of the first two pictures. The
reference's own code runs in float64, so that its rounding doesn't count against ours; how far its float32 is from
that is printed, as are the cosines between different inputs.
"""
import argparse
import hashlib
import json
import pathlib
import tempfile

import open_clip
import pillow_heif
import sentence_transformers
import torch
import transformers
from PIL import Image, ImageOps

import seeded

ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT / "tests/data"
REFS = DATA / "refs"


def pictures():
    """The committed photos in order of name, upright."""
    paths = sorted(p for p in (DATA / "photos").iterdir() if p.suffix != ".md")
    return [p.name for p in paths], [ImageOps.exif_transpose(Image.open(p)).convert("RGB") for p in paths]


def texts():
    return json.loads((DATA / "texts.json").read_text())


def tensor(output):
    return output if isinstance(output, torch.Tensor) else output.pooler_output


class Clip:
    def __init__(self, folder, dtype):
        self.model = transformers.CLIPModel.from_pretrained(folder, dtype=dtype).to(dtype).eval()
        self.processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
        self.tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)

    def images(self, pictures):
        pixels = self.processor(pictures, return_tensors="pt")["pixel_values"].to(self.model.dtype)
        return tensor(self.model.get_image_features(pixels))

    def ids(self, text):
        return self.tokenizer(text, truncation=True, max_length=77)["input_ids"]

    def texts(self, texts):
        return torch.cat([tensor(self.model.get_text_features(torch.tensor([self.ids(t)]))) for t in texts])


class OpenClip:
    """Pads texts with 0 to 77 tokens, as open_clip's own tokenizer does."""

    def __init__(self, folder, dtype):
        model, _, self.preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.model = model.to(dtype).eval()
        self.dtype = dtype
        self.tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)

    def images(self, pictures):
        return self.model.encode_image(torch.stack([self.preprocess(p) for p in pictures]).to(self.dtype))

    def ids(self, text):
        return self.tokenizer(text, truncation=True, max_length=77)["input_ids"]

    def texts(self, texts):
        rows = [self.ids(t) for t in texts]
        return self.model.encode_text(torch.tensor([row + [0] * (77 - len(row)) for row in rows]))


class Dinov2:
    kind = transformers.Dinov2Model

    def __init__(self, folder, dtype):
        self.model = self.kind.from_pretrained(folder, dtype=dtype).to(dtype).eval()
        self.processor = transformers.BitImageProcessorPil.from_pretrained(folder)

    def tokens(self, pictures):
        pixels = self.processor(pictures, return_tensors="pt")["pixel_values"].to(self.model.dtype)
        return self.model(pixels).last_hidden_state

    def images(self, pictures):
        return self.tokens(pictures)[:, 0]

    def patch_tokens(self, pictures):
        return self.tokens(pictures)[:, 1 + getattr(self.model.config, "num_register_tokens", 0):]

    def mean(self, pictures):
        return self.patch_tokens(pictures).mean(dim=1)

    def patches(self, pictures):
        return self.patch_tokens(pictures[:2]).flatten(1)


class Dinov2WithRegisters(Dinov2):
    kind = transformers.Dinov2WithRegistersModel


class Sentence:
    def __init__(self, folder, dtype):
        self.model = sentence_transformers.SentenceTransformer(folder, device="cpu").to(dtype).eval()

    def ids(self, text):
        return self.model.tokenize([text])["input_ids"][0].tolist()

    def texts(self, texts):
        return torch.cat([self.model.encode([t], convert_to_tensor=True) for t in texts])


FAMILIES = {"clip": Clip, "dinov2": Dinov2, "dinov2_with_registers": Dinov2WithRegisters}


def family_of(spec):
    if "open_clip_config.json" in spec["files"]:
        return OpenClip
    if "modules.json" in spec["files"]:
        return Sentence
    return FAMILIES[spec["files"]["config.json"]["model_type"]]


def report(label, single, double):
    error = ((single.double() - double).norm(dim=1) / double.norm(dim=1)).max().item()
    unit = double / double.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.T)[~torch.eye(len(unit), dtype=bool)]
    print(f"  {label}: {len(double)} x {double.shape[1]}, float32 off by {error:.1e}, cosines "
          f"{cosines.min():.3f} .. {cosines.median():.3f} .. {cosines.max():.3f}")


def embed(name, spec, folder):
    family = family_of(spec)
    single, double = family(folder, torch.float32), family(folder, torch.float64)
    names, images = pictures()
    out, jobs = {"model": name}, []
    if hasattr(double, "images"):
        out["images"] = names
        jobs.append(("images", images))
    if hasattr(double, "texts"):
        out |= {"texts": texts(), "ids": [double.ids(t) for t in texts()]}
        jobs.append(("texts", texts()))
    if hasattr(double, "mean") and name.endswith("-tiny"):
        jobs.append(("mean", images))
        out["mean"] = True
        (REFS / f"{name}.patches.f32").write_bytes(double.patches(images).numpy().astype("<f4").tobytes())
    for label, inputs in jobs:
        vectors = getattr(double, label)(inputs)
        report(label, getattr(single, label)(inputs), vectors)
        (REFS / f"{name}.{label}.f32").write_bytes(vectors.numpy().astype("<f4").tobytes())
        out["dim"] = vectors.shape[1]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="folder with vocab.json and merges.txt")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of tables; default: all")
    args = parser.parse_args()
    pillow_heif.register_heif_opener()
    REFS.mkdir(exist_ok=True)
    tables = sorted(p.stem for p in (DATA / "seeded").glob("*.json") if not p.stem.endswith("-dense"))
    for name in args.models or tables:
        print(name)
        spec = json.loads((DATA / "seeded" / f"{name}.json").read_text())
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            seeded.write(spec, pathlib.Path(folder), args.tokenizer)
            with open(pathlib.Path(folder) / spec["weights"], "rb") as f:
                digest = hashlib.file_digest(f, "sha256").hexdigest()
            out = embed(name, spec, folder) | {"weights": spec["weights"], "weights_sha256": digest}
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in out.items())
        (REFS / f"{name}.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
