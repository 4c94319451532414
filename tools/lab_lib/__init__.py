"""What tools/lab is made of: disassembled kernels, the model of their cycles, and the variants' C++."""
