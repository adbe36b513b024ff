"""The memory and its language model: what is stored, how it is trained, written, read and chosen from."""
