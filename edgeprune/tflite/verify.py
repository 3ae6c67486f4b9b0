"""Checks that every offset and length in a TFLite file stays inside the file, before anything is unpacked.

The schema's generated reader trusts its input: a vector of tables with a damaged length is unpacked entry by
entry, and tables that point at each other's vectors multiply. This walk follows the same offsets, reads only
lengths, and stops as soon as it has met more data than the file can hold.
"""

from __future__ import annotations

import struct

from ai_edge_litert import schema_py_generated as schema

# What the runtime's own check (flatbuffers::Verifier) allows.
MAX_TABLES = 1_000_000

# Fields that hold offsets, per table: field id (position in schema.fbs) -> kind.
#   "string"; a number: vector of scalars of that many bytes; "Name": a table; "[Name]": a vector of tables;
#   "Scalars": a table that holds scalars and scalar vectors only, which the reader checks itself.
_OFFSET_FIELDS: dict[str, dict[int, str | int]] = {
    "Model": {
        1: "[OperatorCode]",
        2: "[SubGraph]",
        3: "string",
        4: "[Buffer]",
        5: 4,
        6: "[Metadata]",
        7: "[SignatureDef]",
        8: "[ExternalBufferGroup]",
        9: "[ExternalBuffer]",
    },
    "OperatorCode": {1: "string"},
    "SubGraph": {0: "[Tensor]", 1: 4, 2: 4, 3: "[Operator]", 4: "string"},
    "Tensor": {0: 4, 3: "string", 4: "Quantization", 6: "Sparsity", 7: 4, 9: "[VariantSubType]"},
    "VariantSubType": {0: 4},
    "Quantization": {0: 4, 1: 4, 2: 4, 3: 8, 5: "Scalars"},
    "Sparsity": {0: 4, 1: 4, 2: "[DimensionMetadata]"},
    "DimensionMetadata": {3: "Scalars", 5: "Scalars"},
    "Operator": {1: 4, 2: 4, 4: "Options", 5: 1, 7: 1, 8: 4, 12: "Options2"},
    "Buffer": {0: 1},
    "Metadata": {0: "string"},
    "SignatureDef": {0: "[TensorMap]", 1: "[TensorMap]", 2: "string"},
    "TensorMap": {0: "string"},
    "ExternalBufferGroup": {0: "string"},
    "ExternalBuffer": {4: "string"},
    "Scalars": {},
    "VarHandle": {0: "string", 1: "string"},
    "CustomCall": {0: "string", 2: "string"},
    "Composite": {0: "string"},
}

# Unions in an Operator: field that holds the member's number, and the members that hold strings; others are "Scalars".
_UNIONS: dict[str, tuple[int, dict[int, str]]] = {
    "Options": (3, {schema.BuiltinOptions.VarHandleOptions: "VarHandle"}),
    "Options2": (
        11,
        {
            schema.BuiltinOptions2.StablehloCustomCallOptions: "CustomCall",
            schema.BuiltinOptions2.StableHLOCompositeOptions: "Composite",
        },
    ),
}


class Damaged(ValueError):
    """The bytes are not a well-formed TFLite flatbuffer; the message says where."""


class _Walk:
    """One pass over `content`. `budget` is what may still be met, in bytes of tables, lists and names."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        # Each table is met through a 4-byte offset and starts with 4 bytes of its own, so a file without shared
        # parts never exceeds its own size. Converters share a few (the empty buffer), hence the factor.
        self.budget = 4 * len(content) + 1024
        self.tables = 0

    def spend(self, size: int, what: str) -> None:
        self.budget -= size
        if self.budget < 0:
            raise Damaged(f"{what} points at the same data over and over")

    def u32(self, position: int, what: str) -> int:
        if not 0 <= position <= len(self.content) - 4:
            raise Damaged(f"{what} lies outside the file")
        return int(struct.unpack_from("<I", self.content, position)[0])

    def vector(self, position: int, item_bytes: int, what: str) -> tuple[int, int]:
        """(start, length) of the vector that the offset at `position` points to."""
        start = position + self.u32(position, what)
        length = self.u32(start, what)
        if length * item_bytes > len(self.content) - start - 4:
            raise Damaged(f"{what} claims {length} entries, more than the file holds")
        return start + 4, length

    def table(self, position: int, kind: str) -> None:
        """Check the table whose first byte is at `position`."""
        self.spend(8, kind)
        self.tables += 1
        if self.tables > MAX_TABLES:
            raise Damaged(f"it holds more than {MAX_TABLES} tables, which no runtime accepts")
        vtable = position - self._signed(position, kind)
        if not 0 <= vtable <= len(self.content) - 4:
            raise Damaged(f"the layout of a {kind} lies outside the file")
        vtable_bytes, table_bytes = struct.unpack_from("<HH", self.content, vtable)
        if vtable_bytes < 4 or vtable + vtable_bytes > len(self.content) or position + table_bytes > len(self.content):
            raise Damaged(f"a {kind} reaches beyond the file")
        slots = struct.unpack_from(f"<{vtable_bytes // 2 - 2}H", self.content, vtable + 4)
        for field, points_to in _OFFSET_FIELDS[kind].items():
            if field >= len(slots) or not slots[field]:
                continue
            if points_to in _UNIONS:
                points_to = self.member(str(points_to), position, slots)
            self.field(position + slots[field], points_to, kind)

    def member(self, union: str, position: int, slots: tuple[int, ...]) -> str:
        """The kind of table that a union of the table at `position` holds."""
        type_field, members = _UNIONS[union]
        at = position + slots[type_field] if slots[type_field] else None
        if at is not None and at >= len(self.content):
            raise Damaged("the type of an operation's options lies outside the file")
        return members.get(self.content[at], "Scalars") if at is not None else "Scalars"

    def field(self, position: int, points_to: str | int, kind: str) -> None:
        """Check what the offset stored at `position` points to."""
        if isinstance(points_to, int):
            self.spend(points_to * self.vector(position, points_to, f"a list in a {kind}")[1], f"a list in a {kind}")
        elif points_to == "string":
            self.spend(self.vector(position, 1, f"a name in a {kind}")[1], f"a name in a {kind}")
        elif points_to.startswith("["):
            start, length = self.vector(position, 4, f"the list of {points_to[1:-1]} in a {kind}")
            self.spend(4 * length, f"the list of {points_to[1:-1]} in a {kind}")
            for entry in range(start, start + 4 * length, 4):
                self.table(entry + self.u32(entry, kind), points_to[1:-1])
        else:
            self.table(position + self.u32(position, kind), points_to)

    def _signed(self, position: int, what: str) -> int:
        value = self.u32(position, what)
        return value - (1 << 32) if value >= 1 << 31 else value


def verify(content: bytes) -> None:
    """Check the bytes of a TFLite file.

    Raises:
        Damaged: an offset or length leaves the file, or following the offsets meets far more data than the file
            holds (a loop of shared parts).
    """
    walk = _Walk(content)
    walk.table(walk.u32(0, "the model"), "Model")
