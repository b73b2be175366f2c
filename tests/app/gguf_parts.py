"""Cuts a GGUF file into parts, as llama-gguf-split does: metadata in the first, then the tensors in order."""

import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY, ALIGNMENT = 8, 9, 32


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values[0]

    def skip_text(self):
        length = self.take("Q")
        self.at += length

    def skip_value(self, kind):
        if kind == STRING:
            self.skip_text()
        elif kind == ARRAY:
            element, count = self.take("I"), self.take("Q")
            for _ in range(count):
                self.skip_value(element)
        else:
            self.at += SIZES[kind]


def aligned(position):
    return (position + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def pair(key, kind, layout, value):
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I" + layout, kind, value)


def split_gguf(data, count):
    """The bytes of `count` files."""
    cursor = Cursor(data)
    cursor.at = 8
    tensor_count, pair_count = cursor.take("Q"), cursor.take("Q")
    begin = cursor.at
    for _ in range(pair_count):
        cursor.skip_text()
        cursor.skip_value(cursor.take("I"))
    metadata = data[begin:cursor.at]
    tensors = []  # what stands before the offset, the offset
    for _ in range(tensor_count):
        begin = cursor.at
        cursor.skip_text()
        dimensions = cursor.take("I")
        cursor.at += 8 * dimensions + 4
        tensors.append((data[begin:cursor.at], cursor.take("Q")))
    start = aligned(cursor.at)
    ends = sorted(offset for _, offset in tensors)[1:] + [len(data) - start]
    parts = []
    for number in range(count):
        own = tensors[number * tensor_count // count:(number + 1) * tensor_count // count]
        pairs = pair("split.no", 2, "H", number) + pair("split.count", 2, "H", count)
        pairs += pair("split.tensors.count", 5, "i", tensor_count)
        kept = (metadata, pair_count) if number == 0 else (b"", 0)
        head = b"GGUF" + struct.pack("<IQQ", 3, len(own), kept[1] + 3) + kept[0] + pairs
        body = b""
        for described, offset in own:
            head += described + struct.pack("<Q", len(body))
            end = next(end for end in ends if end > offset)
            body += data[start + offset:start + end]
            body += bytes(aligned(len(body)) - len(body))
        parts.append(head + bytes(aligned(len(head)) - len(head)) + body)
    return parts
