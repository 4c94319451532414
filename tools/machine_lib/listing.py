"""A listing of kernels' machine code for tests/machine: instructions with the scheduler's part of their control words,
parameters and constants, one item a line. nvdisasm prints the instructions; the rest is read from the cubin (ELF).
"""

import re
import struct
import subprocess

# EIATTR numbers of .nv.info (what they hold is said by the names cuobjdump -elf prints)
_PARAMETER, _PARAMETER_BANK, _FRAME, _REGISTERS = 0x17, 0x0A, 0x11, 0x2F
_WITH_BYTES = 4  # an attribute's format
_NO_BITS = 8  # SHT_NOBITS
_LABEL = re.compile(r"\s*(\.L_x_\d+|\$[\w$.]+):")
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,6})\*/\s+(.*?)\s*;.*/\* 0x[0-9a-f]{16} \*/")
_CONTROL = re.compile(r"\s+/\* 0x([0-9a-f]{16}) \*/")


class Cubin:
    """Sections and symbols of an ELF file of 64 bits."""

    def __init__(self, data):
        self.data = data
        (offset,) = struct.unpack_from("<Q", data, 0x28)
        count, names = struct.unpack_from("<HH", data, 0x3C)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, offset + 64 * i) for i in range(count)]
        self._sections = {self._string(headers[names][4], h[0]): h for h in headers}

    def _string(self, table, at):
        return self.data[table + at : self.data.index(b"\0", table + at)].decode()

    def names(self):
        return list(self._sections)

    def size(self, name):
        return self._sections[name][5] if name in self._sections else 0

    def content(self, name):
        header = self._sections.get(name)
        return b"" if header is None or header[1] == _NO_BITS else self.data[header[4] : header[4] + header[5]]

    def symbols(self):
        table = self.content(".symtab")
        strings = self._sections[".strtab"][4]
        return [self._string(strings, struct.unpack_from("<I", table, at)[0]) for at in range(0, len(table), 24)]


def attributes(data):
    """(number, bytes) of each attribute of a .nv.info section that has bytes."""
    at = 0
    while at < len(data):
        form, number = data[at], data[at + 1]
        if form == _WITH_BYTES:
            (size,) = struct.unpack_from("<H", data, at + 2)
            yield number, data[at + 4 : at + 4 + size]
            at += 4 + size
        else:
            at += 4


def _of_functions(cubin):
    """{attribute: {function: value}} of those that .nv.info holds for all."""
    symbols, values = cubin.symbols(), {_FRAME: {}, _REGISTERS: {}}
    for number, data in attributes(cubin.content(".nv.info")):
        if number in values:
            symbol, value = struct.unpack_from("<II", data)
            values[number][symbols[symbol]] = value
    return values


def _header(cubin, name, of_functions):
    yield f"kernel {name}"
    parameters = {}
    for number, data in attributes(cubin.content(f".nv.info.{name}")):
        if number == _PARAMETER:
            _, ordinal, offset, packed = struct.unpack("<IHHI", data)
            parameters[ordinal] = (offset, packed >> 18)
        elif number == _PARAMETER_BANK:
            yield f"base {struct.unpack('<IHH', data)[1]}"
    for ordinal in sorted(parameters):
        yield "parameter {} {}".format(*parameters[ordinal])
    yield f"registers {of_functions[_REGISTERS].get(name, 0)}"
    yield f"frame {of_functions[_FRAME].get(name, 0)}"
    yield f"shared {cubin.size(f'.nv.shared.{name}')}"
    for section in cubin.names():
        bank = re.fullmatch(rf"\.nv\.constant([1-9]\d*)(\.{re.escape(name)})?", section)
        if bank:
            yield f"constant {bank.group(1)} {cubin.content(section).hex()}"


def instructions(text):
    """Labels and instructions of a function as `nvdisasm -hex -c` prints it."""
    pending = None
    for line in text.splitlines():
        if label := _LABEL.match(line):
            yield f"label {label.group(1)}"
        elif found := _INSTRUCTION.search(line):
            pending = found.groups()
        elif pending and (found := _CONTROL.match(line)):
            control = int(found.group(1), 16) >> 41
            fields = control & 15, control >> 5 & 7, control >> 8 & 7, control >> 11 & 63
            without_comments = re.sub(r"\s*\(\*.*?\*\)", "", pending[1])
            yield f"i {pending[0]} {' '.join(map(str, fields))} {without_comments}"
            pending = None


def listing(cubin_file, nvdisasm):
    """The lines of all kernels of a cubin."""
    cubin = Cubin(cubin_file.read_bytes())
    of_functions = _of_functions(cubin)
    command = [nvdisasm, "-hex", "-c", cubin_file]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for function in re.split(r"\n\s*\.section\s+\.text\.", text)[1:]:
        name = function.split(",", 1)[0].strip().strip('"')
        yield from _header(cubin, name, of_functions)
        yield from instructions(function)
