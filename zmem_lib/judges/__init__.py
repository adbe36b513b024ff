"""Judges of answers and evidence: language models, entailment, and people."""
