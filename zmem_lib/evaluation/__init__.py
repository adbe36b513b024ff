"""What chapter 06 measures: metrics, statistics, and experiments beside the scores."""
