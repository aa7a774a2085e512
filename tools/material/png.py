"""PNG pictures with transparency laid onto white, for encoders that take no alpha."""
import itertools
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_ALPHA, PALETTE, RGBA = 4, 3, 6
CHANNELS = {GREY_ALPHA: 2, PALETTE: 1, RGBA: 4}


def chunks(data):
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8:at + 8 + size]
        at += 12 + size


def _up(row, above):
    """Byte by byte sums without carries, all at once."""
    low = int.from_bytes(b"\x7f" * len(row), "big")
    a, b = int.from_bytes(row, "big"), int.from_bytes(above, "big")
    return (((a & low) + (b & low)) ^ ((a ^ b) & ~low)).to_bytes(len(row), "big")


def _paeth(row, above, step):
    out = bytearray(len(row))
    for channel in range(step):
        left = corner = 0
        for i in range(channel, len(row), step):
            up = above[i]
            near = up - corner
            from_left = near if near >= 0 else -near
            near = left - corner
            from_up = near if near >= 0 else -near
            near = left + up - 2 * corner
            from_corner = near if near >= 0 else -near
            if from_left <= from_up and from_left <= from_corner:
                best = left
            else:
                best = up if from_up <= from_corner else corner
            left = out[i] = row[i] + best & 255
            corner = up
    return out


def _average(row, above, step):
    out = bytearray(row)
    for i, value in enumerate(row):
        out[i] = value + ((out[i - step] if i >= step else 0) + above[i]) // 2 & 255
    return out


def _sub(row, step):
    out = bytearray(len(row))
    for channel in range(step):
        out[channel::step] = bytes(itertools.accumulate(row[channel::step], lambda a, b: a + b & 255))
    return out


def rows(raw, width, height, step):
    """The rows of a picture's inflated data, filters undone."""
    size, above = width * step, bytes(width * step)
    for at in range(0, height * (size + 1), size + 1):
        kind, row = raw[at], raw[at + 1:at + 1 + size]
        if kind == 1:
            row = _sub(row, step)
        elif kind == 2:
            row = _up(row, above)
        elif kind == 3:
            row = _average(row, above, step)
        elif kind == 4:
            row = _paeth(row, above, step)
        yield row
        above = row


def _on_white(colours, alphas):
    """Three planes and the opacities -> RGB."""
    out = bytearray(3 * len(alphas))
    for channel in range(3):
        out[channel::3] = colours[channel]
    for i, alpha in enumerate(alphas):
        if alpha == 0:
            out[3 * i:3 * i + 3] = b"\xff\xff\xff"
        elif alpha != 255:
            for j in range(3 * i, 3 * i + 3):
                out[j] = (out[j] * alpha + 255 * (255 - alpha) + 127) // 255
    return out


def flatten(data):
    """An 8-bit picture with transparency becomes RGB on white; any other stays as it is."""
    found = list(chunks(data))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", found[0][1])
    parts = dict(found)
    if depth != 8 or kind not in CHANNELS or interlaced or (kind == PALETTE and b"tRNS" not in parts):
        return data
    raw = zlib.decompress(b"".join(content for name, content in found if name == b"IDAT"))
    out = []
    if kind == PALETTE:
        tables = [parts[b"PLTE"][channel::3].ljust(256, b"\0") for channel in range(3)]
        opacity = parts[b"tRNS"].ljust(256, b"\xff")
    for row in rows(raw, width, height, CHANNELS[kind]):
        if kind == RGBA:
            colours, alphas = [row[channel::4] for channel in range(3)], row[3::4]
        elif kind == GREY_ALPHA:
            colours, alphas = [row[0::2]] * 3, row[1::2]
        else:
            colours, alphas = [row.translate(table) for table in tables], row.translate(opacity)
        out.append(b"\0" + _on_white(colours, alphas))

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return (SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(b"".join(out), 3)) + chunk(b"IEND", b""))
