"""What a run will need, and what it then took: time, memory, disk, money."""
