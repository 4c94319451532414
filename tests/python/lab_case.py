"""What tests of the lab share: invented machine code in cuobjdump's words, and loops."""

import os
import sys
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

from lab_lib import sass  # noqa: E402

RESIDENT = "_ZN5occam4cuda15resident_kernelILi{}EEEvNS0_17ResidentArgumentsE"
VARIANT = (
    "_ZN5occam3lab14variant_kernelINS0_5ShapeILi8ELi16ELi64ELi2ELi2ELNS0_9GradientsE0EEEEEv"
    "NS_4cuda17ResidentArgumentsE"
)
WHOLE = "_ZN5occam4cuda18whole_batch_kernelILb0EEEvNS0_17ResidentArgumentsE"
WHOLE_TENSOR = "_ZN5occam4cuda25whole_batch_tensor_kernelINS0_4{}ELb0EEEvNS0_15TensorArgumentsE"
TENSOR = "_ZN5occam4cuda22resident_tensor_kernelINS0_4{}EEEvNS0_15TensorArgumentsE"


def listing(loop, name=RESIDENT.format(128), architecture="sm_90a"):
    """A kernel in cuobjdump's words: a loop around `loop`, a list of instructions, and a spill after it."""
    lines = [f"arch = {architecture}", f"\tcode for {architecture}", f"\t\tFunction : {name}"]
    body = ["MOV R1, c[0x0][0x28]", "S2R R0, SR_TID.X", *loop, "@P0 BRA 0x10", "STL [R1], R5", "EXIT"]
    for number, text in enumerate(body):
        lines.append(f"        /*{16 * number:04x}*/                   {text} ;      /* 0x00000000 */")
        lines.append("                                                          /* 0x000fe20000000f00 */")
    return "\n".join(lines) + "\n"


def loop_of(instructions, **operations):
    counts = Counter({name.replace("_", "."): n for name, n in operations.items()})
    return sass.Loop(instructions, counts)
