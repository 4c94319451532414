"""What tools/gpu_check is made of: checks on a GPU, their record and the ledger of docs/gpu.md."""
