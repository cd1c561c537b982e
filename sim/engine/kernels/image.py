"""Machine code as one block of bytes that runs wherever it lies, so that kept kernels start without LLVM.

The kernels call nothing and read only constants of their own; an x86-64 object file then needs no more
linking than the distances from code to constants.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from dataclasses import dataclass

import numpy as np

_ALLOC = 2  # SHF_ALLOC: the section is part of the program
_PC32, _PLT32 = 2, 4  # R_X86_64_PC32 and PLT32: 32-bit distance from the place to the symbol
_RELA, _SYMTAB, _NOBITS = 4, 2, 8  # section types


@dataclass(frozen=True, slots=True)
class Image:
    """Code and constants, with distances filled in.

    Attributes:
        code: position-independent bytes.
        symbols: offset of each function.
    """

    code: bytes
    symbols: dict[str, int]

    def to_bytes(self, notes: dict[str, str]) -> bytes:
        """One string that holds the image and some notes, which are words."""
        lines = [f"note {name} {value}" for name, value in notes.items()]
        lines += [f"symbol {name} {offset}" for name, offset in self.symbols.items()]
        head = "\n".join(lines).encode()
        return struct.pack("<I", len(head)) + head + self.code

    @staticmethod
    def from_bytes(content: bytes) -> tuple[Image, dict[str, str]]:
        """What `to_bytes` made a string of: the image, and the notes."""
        (size,) = struct.unpack_from("<I", content)
        rows = [line.split() for line in content[4 : 4 + size].decode().splitlines()]
        symbols = {name: int(value) for kind, name, value in rows if kind == "symbol"}
        return Image(content[4 + size :], symbols), {name: value for kind, name, value in rows if kind == "note"}

    @staticmethod
    def of_object(elf: bytes) -> Image | None:
        """Lay out an x86-64 ELF object file; None where it needs more than distances (ELF gABI, x86-64 psABI)."""
        if elf[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", elf, 18)[0] != 62:
            return None
        (table,) = struct.unpack_from("<Q", elf, 40)
        size, count = struct.unpack_from("<HH", elf, 58)
        # name, type, flags, address, offset, size, link, info, alignment, entry size
        sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + i * size) for i in range(count)]
        code, places = bytearray(), {}
        for index, (_, kind, flags, _, offset, length, _, _, alignment, _) in enumerate(sections):
            if flags & _ALLOC and kind != _NOBITS and kind not in (_RELA, _SYMTAB):
                code += bytes(-len(code) % max(alignment, 64))
                places[index] = len(code)
                code += elf[offset : offset + length]
        symbols = next(s for s in sections if s[1] == _SYMTAB)
        names = sections[symbols[6]][4]
        # name, info, other, section, value, size
        entries = [struct.unpack_from("<IBBHQQ", elf, symbols[4] + 24 * i) for i in range(symbols[5] // 24)]
        for _, kind, _, _, offset, length, _, target, _, _ in sections:
            if kind != _RELA or target not in places:
                continue
            for at in range(offset, offset + length, 24):
                place, info, addend = struct.unpack_from("<QQq", elf, at)
                entry = entries[info >> 32]
                if info & 0xFFFFFFFF not in (_PC32, _PLT32) or entry[3] not in places:
                    return None
                here = places[target] + place
                struct.pack_into("<i", code, here, places[entry[3]] + entry[4] + addend - here)
        found = {}
        for name, info, _, section, value, _ in entries:
            if info & 15 == 2 and section in places:  # STT_FUNC
                text = elf[names + name : elf.index(b"\0", names + name)].decode()
                found[text] = places[section] + value
        return Image(bytes(code), found)

    def load(self) -> tuple[dict[str, int], object] | None:
        """Addresses of the functions, and what keeps their memory; None where no code may be loaded."""
        if not sys.platform.startswith("linux"):
            return None
        memory = mmap.mmap(-1, len(self.code))
        memory.write(self.code)
        start = int(np.frombuffer(memory, np.uint8).__array_interface__["data"][0])
        library = ctypes.CDLL(None)
        library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if library.mprotect(start, len(memory), 1 | 4):  # PROT_READ | PROT_EXEC
            return None
        return {name: start + offset for name, offset in self.symbols.items()}, memory
