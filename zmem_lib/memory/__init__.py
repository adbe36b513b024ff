"""What is learned, written and chosen: one block of soft tokens per document, and a language model that reads it.

The room runs on a bare GPU machine: it imports torch, transformers, tokenizers, peft, safetensors, numpy, pandas, tqdm.
"""
