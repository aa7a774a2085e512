"""SentencePiece's precompiled rewrite rules: building the double-array trie that tokenizer.json holds."""
import itertools
import struct
import unicodedata

# A whole grapheme is looked up only below this many bytes, so that longer rules never apply.
LONGEST_KEY = 5


class DoubleArray:
    """Darts' layout: a unit holds its label, whether a value hangs on it, and where its children lie."""

    def __init__(self):
        self.units = [0] * 256
        self.used = {0}  # units
        self.bases = set()  # where some node's children begin; one value unit lies at a base
        self.first_free = 1

    def reserve(self, size):
        if size > len(self.units):
            self.units.extend([0] * (size - len(self.units) + 255 & ~255))

    def place(self, node, labels):
        """A base for the children `labels` (0 is the value) that fits: every base ^ label is free."""
        while self.first_free in self.used:
            self.first_free += 1
        position = self.first_free
        while True:
            base = position ^ labels[0]
            offset = base ^ node
            # Far offsets lose their low 8 bits.
            if (base not in self.bases and (offset < 1 << 21 or not offset & 0xFF)
                    and not any(base ^ label in self.used for label in labels)):
                self.bases.add(base)
                self.used.update(base ^ label for label in labels)
                self.reserve((base | 0xFF) + 1)
                return base
            position += 1
            while position in self.used:
                position += 1

    def add(self, node, entries, depth):
        """`entries`, sorted (key, value), all reach `node` by their first `depth` bytes."""
        groups = [(label, list(group)) for label, group in
                  itertools.groupby(entries, lambda e: e[0][depth] if len(e[0]) > depth else 0)]
        base = self.place(node, [label for label, _ in groups])
        offset = base ^ node
        link = offset << 10 if offset < 1 << 21 else offset >> 8 << 10 | 1 << 9
        self.units[node] |= link | (1 << 8 if groups[0][0] == 0 else 0)
        for label, group in groups:
            if label == 0:
                self.units[base] = group[0][1] | 1 << 31
            else:
                self.units[base ^ label] = label
                self.add(base ^ label, group, depth + 1)


def build(rules):
    """The blob of {text: replacement}."""
    texts, offsets = b"", {}
    for replacement in sorted(set(rules.values())):
        offsets[replacement] = len(texts)
        texts += replacement.encode() + b"\0"
    trie = DoubleArray()
    trie.add(0, sorted((key.encode(), offsets[value]) for key, value in rules.items()), 0)
    packed = struct.pack(f"<{len(trie.units)}I", *trie.units)
    return struct.pack("<I", len(packed)) + packed + texts


def with_sequences(single):
    """`single` ({character: replacement}) and the rules of nmt_nfkc for short sequences: a base with marks, each as it is
    or as any character that becomes it, composes."""
    origins = {}
    for character, replacement in single.items():
        if len(replacement) == 1:
            origins.setdefault(replacement, set()).add(character)
    rules = dict(single)
    for code in itertools.chain(range(0xC0, 0xAC00), range(0xD7A4, 0xD800), range(0xF900, 0x30000)):
        parts = unicodedata.normalize("NFD", chr(code))
        if not 2 <= len(parts) <= 4 or len(unicodedata.normalize("NFKC", chr(code))) != 1:
            continue
        for keys in itertools.product(*({part} | origins.get(part, set()) for part in parts)):
            key = "".join(keys)
            value = unicodedata.normalize("NFKC", key)
            if len(key.encode()) <= LONGEST_KEY and value != key:
                rules[key] = value
    return rules
