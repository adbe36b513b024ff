"""What chapter 06 measures: scores, comparisons, and experiments beside them."""
