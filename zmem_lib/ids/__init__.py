"""Method 2: documents get ids in codes, and the language model generates the id of the document it wants."""
