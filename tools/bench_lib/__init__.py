"""What tools/bench is made of: contestants (processes that train), measurements on them, and their table."""
