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
WHOLE = "_ZN5occam4cuda18whole_batch_kernelENS0_17ResidentArgumentsE"
WHOLE_TENSOR = "_ZN5occam4cuda25whole_batch_tensor_kernelINS0_4{}EEEvNS0_15TensorArgumentsE"
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


def whole_loops(precision):
    """Those of a kernel of whole batches: in fp32 one of every kind, where four of five instructions are FFMA, or
    fewer; on tensor cores those of each product, in their order."""
    if precision == "tf32":
        return [
            loop_of(104, HMMA=52, LDSM=18),  # two steps of the products forward
            loop_of(180, HMMA=52, LDSM=18),
            loop_of(92, HMMA=28, LDS=44),  # of the weight gradient of layer 1, by halves of the batch
            loop_of(92, HMMA=28, LDS=44),
            loop_of(118, HMMA=52, LDSM=4, LDS=52),  # of the input gradient
            loop_of(56, HMMA=8, LDS=18),
        ]
    if precision == "bf16":
        return [
            loop_of(98, HMMA=52, LDSM=18),
            loop_of(168, HMMA=52, LDSM=18),
            loop_of(62, HMMA=28, LDSM=12),
            loop_of(78, HMMA=52, LDSM=18),
            loop_of(80, HMMA=32, LDSM=20),  # four steps
        ]
    return [
        loop_of(520, FFMA=416, LDS_128=21),  # forward
        loop_of(260, FFMA=208, LDS_128=16, LDS=4),  # input gradient, of either half of the batch
        loop_of(260, FFMA=208, LDS_128=16, LDS=4),
        loop_of(100, FFMA=80, LDS_128=2, LDS_64=10),  # weight gradients, of layer 1
        loop_of(60, FFMA=48, LDS_128=2, LDS_64=6),
        loop_of(32, FFMA=16, LDS_128=8),  # logits
        loop_of(40, FFMA=16, LDS=8, LDS_128=4),  # weight gradient of the last layer
        loop_of(65, FFMA=52, LDS=17),  # its input gradient
    ]


def whole_kernels():
    named = (("fp32", WHOLE), ("bf16", WHOLE_TENSOR.format("Bf16")), ("tf32", WHOLE_TENSOR.format("Tf32")))
    return [sass.Kernel(mangled, "sm_90", registers=255, loops=whole_loops(precision)) for precision, mangled in named]
