"""What tools/lab is made of: disassembled kernels, the tables of them, and the variants' C++."""
