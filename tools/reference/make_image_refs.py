"""Make tests/data/images: small pictures of every format, and what Pillow and transformers make of them.

Run by hand: python3 make_image_refs.py. Needs numpy, Pillow 13 or newer, pillow-heif, transformers and
scikit-learn (whose two sample photos are the source). Writes the pictures, expected/*.png and references.tsv:

    decode FILE EXPECTED      the upright RGB pixels, as a PNG
    crop   FILE EDGE CROP RESAMPLE EXPECTED   transformers' resize and centre crop, as a PNG
    crop   FILE EDGE CROP RESAMPLE =SHA256    the same as a hash of the bytes (lossless sources: exact)
    resize FILE WIDTH HEIGHT RESAMPLE =SHA256 Pillow's resize
"""

import hashlib
import io
import pathlib
import struct
import zlib

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, PngImagePlugin
from sklearn.datasets import load_sample_image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "images"
EXPECTED = OUT / "expected"
WIDTH, HEIGHT = 63, 41  # odd, so that chroma blocks and interlacing end in the middle

CHINA = Image.fromarray(load_sample_image("china.jpg"))
FLOWER = Image.fromarray(load_sample_image("flower.jpg"))
SMALL = CHINA.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
# A cut-out whose colours go on under the transparent part, as cameras' and editors' files do.
ALPHA = np.array(FLOWER.convert("L").resize((WIDTH, HEIGHT)))
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def save(name, image, **options):
    image.save(OUT / name, **options)


def exif(orientation):
    data = Image.Exif()
    data[0x010F] = "Kindred"
    data[0x0112] = orientation
    return data.tobytes()


# ------------------------------------------------------------------ PNG of every kind


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_rows(samples, depth):
    """Filter type 0 rows of samples[height][width][channels], packed to `depth` bits."""
    out = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        elif depth == 8:
            packed = row.astype(np.uint8).tobytes()
        else:
            bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
            packed = np.packbits(bits.reshape(-1)).tobytes()
        out += b"\0" + packed
    return out


def png(name, samples, color_type, depth, interlaced=False, palette=None, transparency=None):
    samples = samples.reshape(samples.shape[0], samples.shape[1], -1).astype(np.int64)
    height, width = samples.shape[:2]
    if interlaced:
        passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        data = b"".join(png_rows(p, depth) for p in passes if p.size)
    else:
        data = png_rows(samples, depth)
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced)))
    if palette is not None:
        body += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparency is not None:
        body += chunk(b"tRNS", transparency)
    body += chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    (OUT / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def make_pngs():
    rgb = np.array(SMALL)
    grey = np.array(SMALL.convert("L"))
    rgb16 = rgb.astype(np.uint16) * 257 ^ 0x55  # the low byte differs from the high one
    alpha = ALPHA[..., None]
    for interlaced in (False, True):
        end = "_interlaced.png" if interlaced else ".png"
        png("rgb8" + end, rgb, 2, 8, interlaced)
        png("rgb16" + end, rgb16, 2, 16, interlaced)
        png("rgba8" + end, np.dstack([rgb, alpha]), 6, 8, interlaced)
        png("rgba16" + end, np.dstack([rgb16, alpha.astype(np.uint16) * 257]), 6, 16, interlaced)
        png("grey_alpha8" + end, np.dstack([grey, alpha]), 4, 8, interlaced)
        png("grey_alpha16" + end, np.dstack([grey.astype(np.uint16) * 257, alpha.astype(np.uint16)]), 4, 16, interlaced)
        png("grey16" + end, grey.astype(np.uint16) * 3, 0, 16, interlaced)  # around 255, where Pillow clips
        for depth in (1, 2, 4, 8):
            png(f"grey{depth}" + end, grey >> (8 - depth), 0, depth, interlaced)
            few = SMALL.quantize(2**depth)
            colours = np.array(few.getpalette()[: 3 * 2**depth]).reshape(-1, 3)
            png(f"palette{depth}" + end, np.array(few), 3, depth, interlaced, palette=colours)
    few = SMALL.quantize(64)
    colours = np.array(few.getpalette()[:192]).reshape(-1, 3)
    png("palette_transparent.png", np.array(few), 3, 8, palette=colours, transparency=bytes(range(0, 256, 4)))
    png("rgb_transparent.png", rgb, 2, 8, transparency=struct.pack(">HHH", *map(int, rgb[3, 3])))
    png("grey_transparent.png", grey, 0, 8, transparency=struct.pack(">H", int(grey[3, 3])))
    save("exif_6.png", SMALL, exif=exif(6))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.format(8))
    save("xmp_8.png", SMALL, pnginfo=text)
    save("1x1.png", CHINA.crop((300, 200, 301, 201)))
    save("1x300.png", CHINA.crop((300, 50, 301, 350)))
    save("tall.png", CHINA.crop((300, 0, 340, 427)).resize((20, 213)))
    save("20000x10.png", CHINA.resize((200, 10)).quantize(16).resize((20000, 10), Image.Resampling.NEAREST))
    save("10x3000.png", CHINA.resize((10, 100)).quantize(16).resize((10, 3000), Image.Resampling.NEAREST))


# ------------------------------------------------------------------ the other formats


def without_adobe_marker(data):
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :]


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def make_jpegs():
    photo = CHINA.resize((320, 214), Image.Resampling.LANCZOS)
    save("photo.jpg", photo, quality=80)
    save("photo_portrait.jpg", FLOWER.crop((200, 0, 400, 427)).resize((150, 320)), quality=75)
    save("color_444.jpg", SMALL, quality=85, subsampling=0)
    save("color_422.jpg", SMALL, quality=85, subsampling=1)
    save("color_420.jpg", SMALL, quality=85, subsampling=2)
    save("progressive.jpg", photo.resize((160, 107)), quality=80, progressive=True)
    save("restart_markers.jpg", SMALL, quality=85, restart_marker_rows=1)
    save("rgb_components.jpg", SMALL, quality=85, keep_rgb=True)
    save("grey.jpg", SMALL.convert("L"), quality=85)
    save("grey_progressive.jpg", SMALL.convert("L"), quality=85, progressive=True)
    c, m, y = (255 - np.array(SMALL).astype(int)).transpose(2, 0, 1)
    k = np.minimum(np.minimum(c, m), y) // 2
    cmyk = Image.fromarray(np.dstack([c - k, m - k, y - k, k]).astype(np.uint8), "CMYK")
    adobe = encoded(cmyk, "JPEG", quality=85)
    (OUT / "cmyk_adobe.jpg").write_bytes(adobe)
    (OUT / "cmyk_plain.jpg").write_bytes(without_adobe_marker(adobe))
    # The same four channels, declared to be YCCK: the decoder then converts three of them.
    at = adobe.index(b"Adobe")
    (OUT / "ycck_adobe.jpg").write_bytes(adobe[: at + 11] + b"\x02" + adobe[at + 12 :])
    for orientation in range(1, 9):
        save(f"exif_{orientation}.jpg", SMALL, quality=80, exif=exif(orientation))
    save("xmp_6.jpg", SMALL, quality=80, xmp=XMP.format(6).encode())


def make_webps():
    rgba = SMALL.convert("RGBA")
    rgba.putalpha(Image.fromarray(ALPHA))
    save("lossy.webp", SMALL, quality=80)
    save("lossless.webp", SMALL, lossless=True)
    save("alpha_lossy.webp", rgba, quality=80)
    save("alpha_lossless.webp", rgba, lossless=True, exact=True)
    save("exif_8.webp", SMALL, quality=80, exif=exif(8))
    save("animated.webp", SMALL, quality=80, save_all=True, append_images=[FLOWER.resize((WIDTH, HEIGHT))])
    save("animated_alpha.webp", rgba, lossless=True, save_all=True, append_images=[rgba.rotate(180)])


def make_gifs():
    few = CHINA.resize((120, 80)).quantize(256)  # enough pixels to fill the table of 4096 codes
    save("plain.gif", few, interlace=0)
    save("interlaced.gif", few, interlace=1)
    small = SMALL.quantize(32)
    save("transparent.gif", small, transparency=3)
    save("animated.gif", small, save_all=True, append_images=[FLOWER.resize((WIDTH, HEIGHT)).quantize(32)])
    save("grey.gif", SMALL.convert("L"))
    for name, options in (("offset.gif", {}), ("offset_transparent.gif", {"transparency": 5})):
        data = bytearray(encoded(small, "GIF", **options))
        data[6:10] = struct.pack("<HH", WIDTH + 9, HEIGHT + 5)
        frame = data.index(b"," + bytes(4) + struct.pack("<HH", WIDTH, HEIGHT))
        data[frame + 1 : frame + 5] = struct.pack("<HH", 4, 3)
        (OUT / name).write_bytes(data)
    data = bytearray(encoded(small, "GIF"))
    data[6:10] = struct.pack("<HH", 10, 10)  # the frame is larger than the canvas
    (OUT / "small_canvas.gif").write_bytes(data)


def make_heifs():
    photo = CHINA.resize((160, 107), Image.Resampling.LANCZOS)
    save("photo.avif", photo, quality=80, subsampling="4:4:4")
    save("photo_420.avif", photo, quality=80, subsampling="4:2:0")
    save("exif_6.avif", photo, quality=80, subsampling="4:4:4", exif=exif(6))
    cut_out = photo.convert("RGBA")
    cut_out.putalpha(FLOWER.convert("L").resize(photo.size))
    save("alpha.avif", cut_out, quality=80)
    save("photo.heic", photo, quality=80, chroma=444)
    save("photo_420.heic", photo, quality=80, chroma=420)


def make_dng():
    """A minimal Bayer DNG (RGGB, 16 bits, uncompressed), turned by its orientation tag."""
    photo = np.array(CHINA.resize((160, 106), Image.Resampling.LANCZOS)).astype(float) / 255
    linear = np.where(photo <= 0.04045, photo / 12.92, ((photo + 0.055) / 1.055) ** 2.4)
    height, width = linear.shape[:2]
    mosaic = np.empty((height, width))
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = linear[0::2, 0::2, 0], linear[1::2, 1::2, 2]
    mosaic[0::2, 1::2], mosaic[1::2, 0::2] = linear[0::2, 1::2, 1], linear[1::2, 0::2, 1]
    strip = (mosaic * 4095).astype("<u2").tobytes()  # 12 bits in 16
    # XYZ (D65) to linear sRGB: the "camera" has sRGB's own primaries.
    matrix = [3.2405, -1.5371, -0.4985, -0.9693, 1.8760, 0.0416, 0.0556, -0.2040, 1.0572]
    rationals = b"".join(struct.pack("<ii", round(v * 10000), 10000) for v in matrix)
    neutral = struct.pack("<II", 1, 1) * 3
    model = b"Kindred test\0"
    entries = [  # tag, type, count, value or bytes
        (254, 4, 1, 0), (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 32803),
        (271, 2, 8, b"Kindred\0"), (272, 2, len(model), model), (273, 4, 1, strip), (274, 3, 1, 6), (277, 3, 1, 1),
        (278, 4, 1, height), (279, 4, 1, len(strip)), (33421, 3, 2, struct.pack("<HH", 2, 2)),
        (33422, 1, 4, bytes([0, 1, 1, 2])), (50706, 1, 4, bytes([1, 4, 0, 0])), (50708, 2, len(model), model),
        (50717, 4, 1, 4095), (50721, 10, 9, rationals), (50728, 5, 3, neutral), (50778, 3, 1, 21),
    ]
    at, extra, table = 8 + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, count, value in entries:
        if isinstance(value, int):
            field = struct.pack("<I", value)
        elif len(value) <= 4:
            field = value.ljust(4, b"\0")
        else:
            field = struct.pack("<I", at + len(extra))
            extra += value + b"\0" * (len(value) & 1)
        table += struct.pack("<HHI", tag, kind, count) + field
    (OUT / "bayer.dng").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + extra)


def make_bombs():
    """Tiny files whose headers promise 60000 x 60000 pixels."""
    (OUT / "bad").mkdir(exist_ok=True)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (OUT / "bad" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    for name, options in (("bomb.jpg", {}), ("bomb_progressive.jpg", {"progressive": True})):
        data = bytearray(encoded(SMALL.resize((16, 16)), "JPEG", **options))
        at = data.index(b"\xff\xc2" if options else b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
        (OUT / "bad" / name).write_bytes(data)
    data = bytearray(encoded(SMALL.resize((16, 16)).quantize(16), "GIF"))
    data[6:10] = struct.pack("<HH", 60000, 60000)
    (OUT / "bad" / "bomb.gif").write_bytes(data)


# ------------------------------------------------------------------ references


class References:
    def __init__(self):
        self.lines, self.known = [], {}

    def store(self, name, pixels):
        """The file with these pixels; equal pixels are kept once."""
        key = (pixels.shape, pixels.tobytes())
        if key not in self.known:
            self.known[key] = f"expected/{name}.png"
            Image.fromarray(pixels).save(OUT / self.known[key], optimize=True)
        return self.known[key]

    def add(self, *fields):
        self.lines.append("\t".join(map(str, fields)))


def upright(path):
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image).convert("RGB")
    return Image.fromarray(np.array(image))  # without metadata: transformers would look at "transparency"


def crop(image, edge, size, resample):
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": edge}, crop_size=size, resample=resample, do_rescale=False, do_normalize=False
    )
    pixels = processor(image, return_tensors="np")["pixel_values"][0]
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)).astype(np.uint8)


def sha(pixels):
    return "=" + hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def main():
    EXPECTED.mkdir(parents=True, exist_ok=True)
    for old in [*OUT.glob("*.*"), *EXPECTED.glob("*.png")]:
        if old.is_file() and old.name != "README.md":
            old.unlink()
    for make in (make_pngs, make_jpegs, make_webps, make_gifs, make_heifs, make_dng, make_bombs):
        make()
    refs = References()
    lossy_color = (".avif", ".heic")  # converted by other code than Pillow's: compared after the resize
    for path in sorted(OUT.glob("*.*")):
        if path.suffix in (".jpg", ".png", ".webp", ".gif") and path.name not in ("20000x10.png", "10x3000.png"):
            refs.add("decode", path.name, refs.store(path.stem + path.suffix.replace(".", "_"), np.array(upright(path))))
        if path.suffix in lossy_color or path.name in ("photo.jpg", "photo_portrait.jpg", "cmyk_adobe.jpg"):
            edge = 64 if path.suffix in lossy_color else 224
            name = f"{path.stem}{path.suffix.replace('.', '_')}_crop{edge}"
            refs.add("crop", path.name, edge, edge, 3, refs.store(name, crop(upright(path), edge, edge, 3)))
    exact = ["rgb8.png", "1x1.png", "1x300.png", "tall.png", "20000x10.png", "10x3000.png", "grey4.png", "plain.gif"]
    for name in exact:
        image = upright(OUT / name)
        for edge, size, resample in [(224, 224, 3), (256, 224, 3), (32, 32, 3), (37, 32, 2), (50, 64, 3), (49, 96, 1),
                                     (224, 336, 0), (20, 15, 0)]:
            refs.add("crop", name, edge, size, resample, sha(crop(image, edge, size, resample)))
    for name in ("rgb8.png", "tall.png", "plain.gif", "1x300.png"):
        image = upright(OUT / name)
        w, h = image.size
        sizes = [(w, h), (w, 17), (29, h), (1, 1), (w * 3, h * 2), (w // 2 + 1, h * 5), (w * 4, h // 3), (7, 100)]
        for width, height in sizes:
            for resample in range(4):
                pixels = np.array(image.resize((width, height), resample))
                refs.add("resize", name, width, height, resample, sha(pixels))
    (OUT / "references.tsv").write_text("\n".join(refs.lines) + "\n")


if __name__ == "__main__":
    main()
