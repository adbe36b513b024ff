"""What is read: corpora become documents, questions and tuples."""
