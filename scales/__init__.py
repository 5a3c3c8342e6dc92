"""What answers mean: instruments, scores, and change that can be told from chance."""
