"""What tools/machine is made of: listings of machine code, programs that run on it, and predictions."""
