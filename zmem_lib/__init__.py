"""zmem: can a small language model with one learned vector block per document replace the vector database in RAG?"""
