"""Reads Qt's binary resource containers (.rcc): a tree of named entries, some compressed."""
import struct
import subprocess
import zlib

ZLIB, DIRECTORY, ZSTD = 1, 2, 4


def _name(data, names, at):
    size = struct.unpack_from(">H", data, names + at)[0]
    start = names + at + 6  # the length and a hash
    return data[start:start + 2 * size].decode("utf-16-be")


def _content(data, at, flags):
    size = struct.unpack_from(">I", data, at)[0]
    raw = data[at + 4:at + 4 + size]
    if flags & ZLIB:
        return zlib.decompress(raw[4:])  # behind the inflated size
    if flags & ZSTD:
        return subprocess.run(["zstd", "-dcq"], input=raw, stdout=subprocess.PIPE, check=True).stdout
    return raw


def entries(data):
    """(path, function that returns the bytes) of every file, in the container's order."""
    if data[:4] != b"qres":
        raise ValueError("not an .rcc container")
    version, tree, start, names = struct.unpack_from(">IIII", data, 4)
    node_size = 14 if version == 1 else 22
    pending = [(0, "")]
    while pending:
        node, parent = pending.pop(0)
        at = tree + node * node_size
        name_at, flags = struct.unpack_from(">IH", data, at)
        path = parent + ("/" + _name(data, names, name_at) if node else "")
        if flags & DIRECTORY:
            count, first = struct.unpack_from(">II", data, at + 6)
            pending += [(child, path) for child in range(first, first + count)]
        else:
            offset = start + struct.unpack_from(">I", data, at + 10)[0]
            yield path, lambda offset=offset, flags=flags: _content(data, offset, flags)
